// A real server for tests: the program that `POCKET_BIN` names. Without it such tests are left out, and under `CI` they fail.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = process.env['POCKET_BIN'];
const isThere = program !== undefined && existsSync(program);

/** Why tests with a server are left out. */
export const skip: string | false =
  isThere || process.env['CI'] === 'true' ? false : 'POCKET_BIN names no program; build it: cargo build --release -p pocket-cli';

/** How this Node reaches a server: by WebSocket where it has them. */
export const useWebSocket = typeof WebSocket === 'function';

export class Server {
  readonly #directory = mkdtempSync(join(tmpdir(), 'pocket-'));
  #process: ChildProcess | undefined;
  #address = '127.0.0.1:0';

  static async start(): Promise<Server> {
    const server = new Server();
    await server.run();
    return server;
  }

  /** Where it listens. */
  get url(): string {
    return `ws://${this.#address}/sync`;
  }

  /** Runs it, at the address it had before. */
  async run(): Promise<void> {
    if (!isThere) throw new Error('POCKET_BIN names no program');
    const child = spawn(program, ['--db', this.#directory, 'serve', '--listen', this.#address, '--token', 'sesame=ada'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    this.#address = await new Promise((resolve, reject) => {
      let said = '';
      const hear = (bytes: Buffer): void => {
        said += bytes.toString();
        const address = /listening on wss?:\/\/([^/\s]+)/.exec(said)?.[1];
        if (address !== undefined) resolve(address);
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.on('exit', () => reject(new Error(`the server ended: ${said}`)));
      child.on('error', reject);
    });
  }

  /** Kills it; its data stays. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
