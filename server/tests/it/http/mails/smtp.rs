//! A mail server of the tests: it takes what comes, unless it was told to do something else with the next.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// How long a test waits for a letter, in looks of 20 ms.
const PATIENCE: usize = 3000;

/// How long a slow server takes for a letter.
const SLOW: Duration = Duration::from_secs(1);

/// What is done with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is refused for now, once it is whole.
    Later,
    /// It is refused for good.
    Never,
    /// Nothing is said any more.
    Hang,
    /// It is taken, after a while.
    Slow,
}

/// A letter as it came, whatever was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Letter {
    pub(super) from: String,
    pub(super) to: String,
    /// As it was sent.
    pub(super) data: String,
}

impl Letter {
    /// What it says, with what stood for other bytes as these.
    pub(super) fn text(&self) -> String {
        let joined = self.data.replace("=\r\n", "");
        let (mut bytes, mut rest) = (Vec::new(), joined.as_bytes());
        while let Some((first, more)) = rest.split_first() {
            let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'=') {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &more[2..];
                }
                None => {
                    bytes.push(*first);
                    rest = more;
                }
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// The link in it.
    pub(super) fn link(&self) -> String {
        let text = self.text();
        let start = text.find("http://").unwrap_or_else(|| panic!("no link in {text}"));
        text[start..].split_whitespace().next().unwrap().to_owned()
    }

    pub(super) fn token(&self) -> String {
        self.link().split_once("token=").unwrap().1.to_owned()
    }
}

/// The server. It ends with this.
pub(super) struct Smtp {
    pub(super) url: String,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    hung: AtomicUsize,
    next: Mutex<VecDeque<How>>,
    letters: Mutex<Vec<Letter>>,
}

impl Smtp {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        let listening = std::thread::spawn(move || {
            let mut serving = Vec::new();
            while !own.stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let own = Arc::clone(&own);
                        // Who has gone in between has nothing to be told.
                        serving.push(std::thread::spawn(move || drop(serve(&stream, &own))));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
            serving.into_iter().for_each(|serving: JoinHandle<()>| serving.join().unwrap());
        });
        Self { url, shared, listening: Some(listening) }
    }

    /// What is done with the next letters.
    pub(super) fn next(&self, all: impl IntoIterator<Item = How>) {
        self.shared.next.lock().extend(all);
    }

    pub(super) fn count(&self) -> usize {
        self.shared.letters.lock().len()
    }

    /// The letter of this number, once it has come.
    pub(super) fn letter(&self, number: usize) -> Letter {
        self.wait(|shared| shared.letters.lock().get(number).cloned(), "no letter came")
    }

    /// Waits until nothing is said to somebody any more.
    pub(super) fn hung(&self) {
        self.wait(|shared| (shared.hung.load(Ordering::Relaxed) > 0).then_some(()), "nobody came");
    }

    fn wait<T>(&self, look: impl Fn(&Shared) -> Option<T>, otherwise: &str) -> T {
        for _ in 0..PATIENCE {
            if let Some(found) = look(&self.shared) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{otherwise}");
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let listening = self.listening.take().unwrap();
        let ended = listening.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the mail server of the test panicked");
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let how = shared.next.lock().pop_front();
    if how == Some(How::Hang) {
        shared.hung.fetch_add(1, Ordering::Relaxed);
        while !shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        return Ok(());
    }
    if how == Some(How::Slow) {
        std::thread::sleep(SLOW);
    }
    let (mut lines, mut letter) = (BufReader::new(stream.try_clone()?), Letter::default());
    say(stream, "220 here")?;
    while let Some(line) = read(&mut lines, shared)? {
        let path = || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
        match line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => say(stream, "250 here")?,
            "MAIL" => {
                letter.from = path().to_owned();
                say(stream, "250 ok")?;
            }
            "RCPT" => {
                letter.to = path().to_owned();
                say(stream, "250 ok")?;
            }
            "DATA" => {
                say(stream, "354 go on")?;
                while let Some(line) = read(&mut lines, shared)?.filter(|line| line != ".") {
                    letter.data.push_str(&line);
                    letter.data.push_str("\r\n");
                }
                shared.letters.lock().push(std::mem::take(&mut letter));
                let answer = match how {
                    Some(How::Later) => "451 4.3.0 later",
                    Some(How::Never) => "550 5.1.1 never",
                    Some(How::Hang | How::Slow) | None => "250 taken",
                };
                say(stream, answer)?;
            }
            "QUIT" => return say(stream, "221 bye"),
            _ => say(stream, "250 ok")?,
        }
    }
    Ok(())
}

fn say(mut stream: &TcpStream, line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes())
}

/// The next line; nothing at the end, or once the test is over.
fn read(lines: &mut impl BufRead, shared: &Shared) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    loop {
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(line.trim_end().to_owned())),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if shared.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
