// Runs a guide as its reader would: its commands in their order in one shell, its files written, its outputs compared.
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The fenced blocks of a document, in their order. */
export async function blocks(path) {
  const text = await readFile(path, 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, body]) => ({ language, body }));
}

/** A shell whose state lasts, so that what one block exports the next one has. */
export class Shell {
  constructor(folder, environment) {
    this.folder = folder;
    this.process = spawn('bash', [], { cwd: folder, env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
    this.said = '';
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (part) => (this.said += part));
    this.number = 0;
  }

  /** Runs commands, which must succeed; what they said. */
  async run(commands) {
    const mark = `--done-${this.number++}-`;
    const from = this.said.length;
    this.process.stdin.write(`{ set -e; ${commands}\nset +e; } ; echo "${mark}$?"\n`);
    for (;;) {
      const found = new RegExp(`${mark}(\\d+)`).exec(this.said.slice(from));
      if (found !== null) {
        const said = this.said.slice(from, from + found.index);
        if (found[1] !== '0') throw new Error(`failed (${found[1]}):\n${commands}\n${said}`);
        return said;
      }
      if (this.process.exitCode !== null) throw new Error(`the shell ended at:\n${commands}\n${this.said.slice(from)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop() {
    this.process.stdin.end();
    if (this.process.exitCode === null) await new Promise((resolve) => this.process.on('exit', resolve));
  }
}

/** Writes a block that begins with the name of its file, as `// app.mjs`. */
export async function write(folder, body) {
  const name = /^\/\/ (\S+)\n/.exec(body)?.[1];
  if (name !== undefined) await writeFile(join(folder, name), body);
  return name;
}
