// Judges YAML files as an editor's language server does: with the npm packages yaml and ajv.
//   node editors.mjs SCHEMA FOLDER...   prints each file that the schema refuses, by its path.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(path.join(process.env.PACKAGES, 'node_modules', 'x.js'));
const Ajv = require('ajv');
const YAML = require('yaml');

const [schema, ...folders] = process.argv.slice(2);
const validate = new Ajv({ allErrors: true }).compile(JSON.parse(fs.readFileSync(schema, 'utf8')));

function isRefused(file) {
  const documents = YAML.parseAllDocuments(fs.readFileSync(file, 'utf8'));
  if (documents.length !== 1 || documents[0].errors.length > 0) return true;
  try {
    return !validate(documents[0].toJS({ maxAliasCount: 1000 }));
  } catch {
    return true;
  }
}

for (const folder of folders) {
  for (const name of fs.readdirSync(folder).sort()) {
    const file = path.join(folder, name);
    if (isRefused(file)) console.log(file);
  }
}
