// What script adds to pages that work without it: forms as dialogs, words that something was done, live numbers. It asks this
// server alone, and for the same pages that a click would show.
import { charts } from "./chart.js";

const parse = (text) => new DOMParser().parseFromString(text, "text/html");
const page = async (url, options = {}) => {
  const response = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/html" }, ...options });
  return { response, found: parse(await response.text()) };
};

/** Says something for a few seconds: within a dialog that is open, since nothing beside it can be reached. */
function toast(words, isBad = false) {
  document.querySelector(".toast")?.remove();
  const box = Object.assign(document.createElement("div"), { className: isBad ? "toast is-bad" : "toast" });
  box.setAttribute("role", isBad ? "alert" : "status");
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  box.append(words);
  settle(box);
}

function settle(box) {
  const close = Object.assign(document.createElement("button"), { type: "button", className: "linklike", textContent: "Close" });
  close.addEventListener("click", () => box.remove());
  box.append(close);
  if (box.getAttribute("role") === "status") setTimeout(() => box.remove(), 6000);
}

/** What a page says was done is said once: its word goes from the address. */
function said() {
  const box = document.querySelector(".toast");
  if (box) settle(box);
  const url = new URL(location.href);
  if (url.searchParams.has("done")) {
    url.searchParams.delete("done");
    history.replaceState(null, "", url);
  }
}

/** Shows the form behind a link as a dialog, and goes to its page where that fails. */
async function open(link) {
  if (link.getAttribute("aria-busy") === "true") return;
  link.setAttribute("aria-busy", "true");
  try {
    const { response, found } = await page(link.href);
    const content = found.querySelector("[data-dialog-content]");
    if (!response.ok || response.redirected || !content) return location.assign(link.href);
    const dialog = document.createElement("dialog");
    dialog.addEventListener("close", () => {
      dialog.remove();
      const again = link.isConnected ? link : document.querySelector(`a[href="${CSS.escape(link.getAttribute("href"))}"]`);
      again?.focus();
    });
    document.body.append(dialog);
    fill(dialog, content, response.url);
    dialog.showModal();
  } catch {
    location.assign(link.href);
  } finally {
    link.removeAttribute("aria-busy");
  }
}

function fill(dialog, content, url) {
  dialog.replaceChildren(document.adoptNode(content));
  const title = dialog.querySelector("h1");
  if (title) {
    title.id = "dialog-title";
    dialog.setAttribute("aria-labelledby", title.id);
  }
  for (const form of dialog.querySelectorAll("form")) {
    if (!form.getAttribute("action")) form.action = url;
  }
  ready(dialog);
  (dialog.querySelector("[aria-invalid=true]") ?? dialog.querySelector("input:not([type=hidden]), select, textarea"))?.focus();
}

/** Of a form whose session has ended: has it sent by the session of now. Whether somebody is signed in again. */
async function signedInAgain(form) {
  const { response, found } = await page(form.action);
  const proof = found.querySelector("[data-dialog-content] [name=csrf]")?.value;
  if (response.redirected || !proof) return false;
  for (const field of form.querySelectorAll("[name=csrf]")) field.value = proof;
  delete form.dataset.signedOut;
  return true;
}

const SIGNED_OUT = "You are signed out. Sign in on another tab, then send this again.";

/** Sends a form: from a dialog within it, so that what is wrong is said there. */
async function send(event) {
  const form = event.target;
  const button = event.submitter ?? form.querySelector("[type=submit]");
  if (button?.getAttribute("aria-busy") === "true") return event.preventDefault();
  button?.setAttribute("aria-busy", "true");
  const dialog = form.closest("dialog");
  if (!dialog || (event.submitter?.formMethod || form.method) !== "post") return;
  event.preventDefault();
  try {
    if ("signedOut" in form.dataset && !(await signedInAgain(form))) return toast(SIGNED_OUT, true);
    const data = new FormData(form, event.submitter);
    // With a file it goes in parts.
    const body = form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
    const { response, found } = await page(form.action, { method: "POST", body });
    if (response.redirected) {
      const to = new URL(response.url);
      if (to.pathname === "/sign-in") {
        form.dataset.signedOut = "";
        return toast(SIGNED_OUT, true);
      }
      return to.pathname === location.pathname && to.hash ? location.replace(to) : location.assign(to);
    }
    const content = found.querySelector("[data-dialog-content]");
    if (content) fill(dialog, content, form.action);
    else toast(found.querySelector("main p")?.textContent ?? "That could not be done. Try again.", true);
  } catch {
    toast("The server cannot be reached. Nothing is lost: try again.", true);
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

/** Takes the regions of a page anew, without losing what has the focus. */
async function renew(url) {
  const { response, found } = await page(url);
  if (!response.ok || response.redirected) return;
  for (const fresh of found.querySelectorAll("[data-region]")) {
    const old = document.querySelector(`[data-region="${fresh.dataset.region}"]`);
    if (!old) continue;
    const folds = fresh.querySelectorAll("details");
    old.querySelectorAll("details").forEach((fold, at) => folds[at]?.toggleAttribute("open", fold.open));
    if (old.contains(document.activeElement) || old.isEqualNode(fresh)) continue;
    old.replaceWith(document.adoptNode(fresh));
    ready(fresh);
  }
}

/** Follows the events that an address sends, and takes the page's numbers anew when something happened: at most every two seconds. */
function follow(mark) {
  if (!("EventSource" in window)) return;
  let source;
  let waiting = false;
  const state = (word, words) => {
    mark.dataset.state = word;
    mark.textContent = words;
  };
  const happened = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => renew(location.href).catch(() => {}).finally(() => (waiting = false)), 2000);
  };
  const connect = () => {
    source = new EventSource(mark.dataset.live);
    source.addEventListener("open", () => state("open", "Live"));
    source.addEventListener("message", happened);
    source.addEventListener("event", happened);
    source.addEventListener("changed", happened);
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) state("off", "Load the page anew for newer figures");
      else state("lost", "Reconnecting");
    });
  };
  // Who does not look needs no connection: coming back is seen to.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return source.close();
    connect();
    happened();
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();
}

/** Shows what a form would change, as soon as something is chosen in it. What was chosen before is not shown once more. */
function preview(field) {
  const form = field.form;
  field.addEventListener("change", async () => {
    // Arrow keys choose one after the other: only where they rest is asked for.
    const turn = (form.dataset.turn = String(Number(form.dataset.turn ?? 0) + 1));
    await new Promise((rested) => setTimeout(rested, 150));
    if (form.dataset.turn !== turn) return;
    const url = new URL(form.action || location.href, location.href);
    for (const one of form.querySelectorAll("[data-preview-of]")) {
      if (one.type === "checkbox" && !one.checked) url.searchParams.delete(one.name);
      else url.searchParams.set(one.name, one.value);
    }
    url.searchParams.set("preview", "1");
    try {
      const { found } = await page(url);
      if (form.dataset.turn !== turn) return;
      const [fresh, old] = [found, form].map((root) => root.querySelector("[data-preview]"));
      if (fresh && old) old.replaceWith(document.adoptNode(fresh));
      const wrong = found.querySelector(".field .error")?.textContent;
      if (wrong) toast(wrong, true);
    } catch {
      toast("The preview cannot be loaded. The server decides in any case.", true);
    }
  });
}

/** Has the line of tabs, where it scrolls, show the one that is open. The page itself stays where it is. */
function centre(tab) {
  const tabs = tab.parentElement;
  const [inner, outer] = [tab.getBoundingClientRect(), tabs.getBoundingClientRect()];
  tabs.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
}

/** Rows of a form come and go at once: without script a submit brings one, and one without its first field is left out. */
function rows(section) {
  const all = () => section.querySelectorAll("[data-row]");
  const removable = (row) => {
    const words = { type: "button", className: "button is-quiet is-small", textContent: "Remove" };
    const button = Object.assign(document.createElement("button"), words);
    button.dataset.remove = "";
    const legend = row.querySelector("legend").textContent;
    button.append(Object.assign(document.createElement("span"), { className: "unseen", textContent: ` ${legend}` }));
    button.addEventListener("click", () => {
      row.remove();
      section.querySelector("[data-add]").focus();
    });
    row.append(button);
  };
  // Names of rows that are gone are not used again: the server takes rows by their numbers, whatever these are.
  let next = all().length;
  const blank = section.querySelector("template");
  all().forEach(removable);
  section.querySelector("[data-add]").addEventListener("click", (event) => {
    event.preventDefault();
    const row = blank.content.firstElementChild.cloneNode(true);
    for (const element of row.querySelectorAll("[name], [id], [for], [aria-describedby]")) {
      for (const name of ["name", "id", "for", "aria-describedby"]) {
        const value = element.getAttribute(name);
        if (value) element.setAttribute(name, value.replaceAll(".new.", `.${next}.`));
      }
    }
    next += 1;
    row.querySelector("legend").textContent = row.querySelector("legend").textContent.replace(/\d+$/, next);
    removable(row);
    ([...all()].at(-1) ?? blank).after(row);
    row.querySelector("select, input").focus();
  });
}

/** Makes what is on a page, or in a part of one, work. */
function ready(root) {
  for (const link of root.querySelectorAll("a[data-dialog]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      open(link);
    });
  }
  for (const close of root.querySelectorAll("[data-close]")) {
    const dialog = close.closest("dialog");
    if (!dialog) continue;
    close.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
  }
  for (const copy of root.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(copy.dataset.copy);
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.value);
        copy.textContent = "Copied";
      } catch {
        source.select();
        copy.textContent = "Press Ctrl+C";
      }
    });
  }
  for (const select of root.querySelectorAll("select[data-submits]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  for (const field of root.querySelectorAll("[data-preview-of]")) preview(field);
  for (const tab of root.querySelectorAll(".tabs [aria-current]")) centre(tab);
  for (const section of root.querySelectorAll("[data-rows]")) rows(section);
  charts(root);
}

document.addEventListener("submit", send);
addEventListener("pageshow", () => document.querySelectorAll("button[aria-busy]").forEach((one) => one.removeAttribute("aria-busy")));
said();
ready(document);
document.querySelector("form[data-at-once]")?.requestSubmit();
document.querySelectorAll("[data-live]").forEach(follow);
