// Type-checks every TypeScript block of the READMEs of the packages and of the guides, so that what people paste works.
//
// Each block of `ts`, `tsx` or `typescript` is a module of its own. One that begins with "```ts continued" goes on where the
// block before it in the same file ended. Needs the packages to be built (`npm run build`).

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(packages);

/** The blocks of a text: where each begins, and its lines. */
export function blocks(text) {
  const found = [];
  let open;
  for (const [at, line] of text.split('\n').entries()) {
    const fence = /^(`{3,})\s*(.*)$/.exec(line);
    if (open === undefined && fence !== null) {
      const [language = '', ...words] = fence[2].trim().split(/[\s,]+/);
      open = { line: at + 2, fence: fence[1], lines: [], isOurs: ['ts', 'tsx', 'typescript'].includes(language), goesOn: words.includes('continued') };
    } else if (open !== undefined && fence !== null && fence[2] === '' && fence[1].length >= open.fence.length) {
      if (open.isOurs && open.goesOn && found.length > 0) found.at(-1).lines.push('', ...open.lines);
      else if (open.isOurs) found.push({ line: open.line, lines: open.lines });
      open = undefined;
    } else open?.lines.push(line);
  }
  if (open !== undefined) throw new Error(`the block that begins before line ${open.line} does not end`);
  return found;
}

function files() {
  const readmes = readdirSync(packages).map((name) => join(packages, name, 'README.md'));
  const guide = join(root, 'docs', 'guide');
  const guides = readdirSync(guide).filter((name) => name.endsWith('.md')).map((name) => join(guide, name));
  return [join(packages, 'README.md'), ...readmes, ...guides].filter(existsSync);
}

function main() {
  const directory = join(packages, 'build', 'snippets');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const origins = new Map();
  for (const file of files()) {
    const name = relative(root, file);
    for (const { line, lines } of blocks(readFileSync(file, 'utf8'))) {
      const module = `${name.replace(/[^A-Za-z0-9]+/g, '-')}-${line}.tsx`;
      writeFileSync(join(directory, module), `${lines.join('\n')}\nexport {};\n`);
      origins.set(module, { name, line });
    }
  }
  // None at all means that nothing was looked at, and not that all is well.
  if (origins.size === 0) throw new Error('no snippet was found');
  const options = {
    extends: '../../tsconfig.base.json',
    compilerOptions: { composite: false, declaration: false, noEmit: true, jsx: 'react-jsx', noUnusedLocals: false, noUnusedParameters: false },
    include: ['*.tsx'],
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(options));
  const tsc = join(packages, 'node_modules', 'typescript', 'bin', 'tsc');
  const run = spawnSync(process.execPath, [tsc, '-p', directory, '--pretty', 'false'], { cwd: directory, encoding: 'utf8' });
  // The places are those of the documents.
  const told = run.stdout.replace(/^(?:.*\/)?([^/(\s]+\.tsx)\((\d+),(\d+)\)/gm, (whole, module, line, column) => {
    const origin = origins.get(basename(module));
    return origin === undefined ? whole : `${origin.name}:${origin.line + Number(line) - 1}:${column}`;
  });
  process.stdout.write(told);
  process.stderr.write(run.stderr);
  if (run.status !== 0) process.exit(1);
  console.log(`${origins.size} snippets are right`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
