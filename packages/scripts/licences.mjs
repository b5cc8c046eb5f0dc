// Puts the licences of the repository into the package that is packed: `npm pack` and `npm publish` call it there, and take no
// file from above.

import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const licences = readdirSync(root).filter((name) => name.startsWith('LICENSE-'));
if (licences.length === 0) throw new Error(`there are no licences in ${root}`);
for (const name of licences) copyFileSync(join(root, name), join(process.cwd(), name));
