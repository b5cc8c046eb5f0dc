// Type-checks every TypeScript block of the READMEs and of the guides, so that what people paste works.
//
// Each block of `ts`, `tsx` or `typescript` is a module of its own. One that begins with "```ts continued" goes on where the
// block before it in the same file ended, and one with "```tsx file=App.tsx" is the module that the other blocks of its document
// import as `./App.js`. A module with "```ts run" is also run, in Node, and fails when it throws or rejects. Needs the packages
// to be built (`npm run build`), and the WebAssembly.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = dirname(dirname(fileURLToPath(import.meta.url)));
const root = dirname(packages);

/** How long a snippet may run. They take less than a second; one that does not end is wrong. */
const RUN_MS = 60_000;

/** The modules of a text: what they are called, if anything, and their parts, with the line at which each begins. */
export function blocks(text) {
  const found = [];
  let open;
  for (const [at, line] of text.split('\n').entries()) {
    const fence = /^(`{3,})\s*(.*)$/.exec(line);
    if (open === undefined && fence !== null) {
      const [language = '', ...words] = fence[2].trim().split(/[\s,]+/);
      open = { line: at + 2, fence: fence[1], lines: [], isOurs: ['ts', 'tsx', 'typescript'].includes(language), words };
    } else if (open !== undefined && fence !== null && fence[2] === '' && fence[1].length >= open.fence.length) {
      const { line, lines, words } = open;
      const file = words.find((word) => word.startsWith('file='))?.slice('file='.length);
      if (open.isOurs && words.includes('continued') && found.length > 0) found.at(-1).parts.push({ line, lines });
      else if (open.isOurs) found.push({ file, ...(words.includes('run') ? { isRun: true } : {}), parts: [{ line, lines }] });
      open = undefined;
    } else open?.lines.push(line);
  }
  if (open !== undefined) throw new Error(`the block that begins before line ${open.line} does not end`);
  return found;
}

function documents() {
  const inDirectory = (directory) => readdirSync(directory).filter((name) => name.endsWith('.md')).map((name) => join(directory, name));
  const readmes = readdirSync(packages).map((name) => join(packages, name, 'README.md'));
  const docs = join(root, 'docs');
  return [join(root, 'README.md'), join(packages, 'README.md'), ...readmes, ...inDirectory(docs), ...inDirectory(join(docs, 'guide'))].filter(existsSync);
}

/**
 * Type-checks the blocks of documents, in a directory below `build`. Gives how many there are, and what is wrong with them,
 * at its place in the documents.
 */
export function check(files, directory) {
  rmSync(directory, { recursive: true, force: true });
  const origins = new Map();
  const programs = [];
  for (const file of files) {
    const name = relative(root, file);
    const place = join(directory, name.replace(/[^A-Za-z0-9]+/g, '-'));
    for (const { file: called, isRun, parts } of blocks(readFileSync(file, 'utf8'))) {
      const module = join(place, called ?? `line-${parts[0].line}.tsx`);
      if (origins.has(module)) throw new Error(`${name} has two blocks of the file ${called}`);
      mkdirSync(place, { recursive: true });
      // Lines of the module, each with the line of the document it comes from.
      const lines = parts.flatMap((part) => part.lines.map((text, at) => ({ text, line: part.line + at })));
      writeFileSync(module, [...lines.map(({ text }) => text), 'export {};', ''].join('\n'));
      origins.set(module, { name, lines });
      if (isRun) programs.push(module);
    }
  }
  // None at all means that nothing was looked at, and not that all is well.
  if (origins.size === 0) throw new Error('no snippet was found');
  const options = {
    extends: relative(directory, join(packages, 'tsconfig.base.json')),
    compilerOptions: { composite: false, declaration: false, rootDir: '.', outDir: 'out', jsx: 'react-jsx', noUnusedLocals: false, noUnusedParameters: false },
    include: ['**/*.ts', '**/*.tsx'],
    exclude: ['out'],
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(options));
  const tsc = join(packages, 'node_modules', 'typescript', 'bin', 'tsc');
  const run = spawnSync(process.execPath, [tsc, '-p', directory, '--pretty', 'false'], { cwd: directory, encoding: 'utf8' });
  const said = run.stdout.replace(/^([^(\s]+\.tsx?)\((\d+),(\d+)\)/gm, (whole, module, line, column) => {
    const origin = origins.get(resolve(directory, module));
    const at = origin?.lines[Number(line) - 1]?.line;
    return at === undefined ? whole : `${origin.name}:${at}:${column}`;
  });
  if (run.status !== 0) return { count: origins.size, ran: 0, isRight: false, said: said + run.stderr };
  const failures = programs.map((module) => {
    const { name, lines } = origins.get(module);
    const compiled = join(directory, 'out', relative(directory, module).replace(/\.tsx?$/, '.js'));
    const program = spawnSync(process.execPath, ['--unhandled-rejections=strict', compiled], { encoding: 'utf8', timeout: RUN_MS });
    if (program.status === 0) return '';
    return `${name}:${lines[0].line}: does not run: ${program.error?.message ?? ''}${program.stderr}\n`;
  });
  return { count: origins.size, ran: programs.length, isRight: failures.every((failure) => failure === ''), said: said + failures.join('') };
}

function main() {
  const { count, ran, isRight, said } = check(documents(), join(packages, 'build', 'snippets'));
  process.stdout.write(said);
  if (!isRight) process.exit(1);
  console.log(`${count} snippets are right, ${ran} of them were run`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
