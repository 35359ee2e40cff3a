// Says of each build folder which module system its files are of: `node modules.mjs dist`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
writeFileSync(join(folder, 'esm', 'package.json'), '{ "type": "module" }\n');
writeFileSync(join(folder, 'cjs', 'package.json'), '{ "type": "commonjs" }\n');
