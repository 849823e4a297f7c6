// Writes docs/errors.md and docs/limits.md from the sources; with --check it only tells whether they
// are current. It reads syntax trees, so nothing needs to be built first.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import prettier from 'prettier';
import ts from 'typescript';
import { root } from './steps.mjs';

const parse = (file) =>
  ts.createSourceFile(
    file,
    readFileSync(path.join(root, file), 'utf8'),
    ts.ScriptTarget.ES2022,
    true,
  );

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows]
    .map((row) => `| ${row.map(cell).join(' | ')} |`)
    .join('\n');

const below = (folder, keep) => {
  const found = [];
  for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const file = `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...below(file, keep));
    else if (keep(file)) found.push(file);
  }
  return found.sort((a, b) => (a < b ? -1 : 1));
};

// Errors: the entries of errorCatalogue, grouped by the comments between them.
const stringOf = (node) => {
  if (ts.isStringLiteralLike(node)) return node.text;
  throw new Error(`expected a text literal, got ${node.getText()}`);
};

const errorGroups = () => {
  const source = parse('packages/model/src/error-codes.ts');
  const groups = [];
  const visit = (node) => {
    if (!ts.isVariableDeclaration(node) || node.name.getText() !== 'errorCatalogue') {
      ts.forEachChild(node, visit);
      return;
    }
    let literal = node.initializer;
    while (!ts.isObjectLiteralExpression(literal)) literal = literal.expression;
    for (const property of literal.properties) {
      const comments = ts.getLeadingCommentRanges(source.text, property.getFullStart()) ?? [];
      for (const { pos, end } of comments)
        groups.push({ title: source.text.slice(pos + 2, end).trim(), rows: [] });
      const [recovery, meaning, cause, action] = property.initializer.arguments.map(stringOf);
      const code = ts.isStringLiteral(property.name) ? property.name.text : property.name.getText();
      groups.at(-1).rows.push([`\`${code}\``, meaning, cause, action, recovery]);
    }
  };
  visit(source);
  return groups;
};

const errorsPage = () => `# Errors

<!-- Written by test/run/generate-docs.mjs from packages/model/src/error-codes.ts. -->

Every failure of a public function is a \`TidemarkError\` with one of these codes; a sync error has one as its kind. Codes
never change their meaning. The recovery says what a program can do: \`retry-later\` try again, \`rebase\` read anew and
repeat, \`rehydrate\` repair local data by difference, \`split\` do it in smaller parts, \`ask-user\` and \`ask-operator\` a
person must act, \`quarantine\` set the input aside, \`upgrade\` install a newer version.

${errorGroups()
  .map(
    ({ title, rows }) =>
      `## ${title}\n\n${table(['Code', 'Meaning', 'Usual cause', 'What to do', 'Recovery'], rows)}`,
  )
  .join('\n\n')}
`;

// Limits: constants whose names say that they bound something, with their comments.
const limitName = /(Max|Min|Ms|Bytes|Length)$/;

const commentOf = (node) => {
  const [comment] = node.jsDoc?.slice(-1) ?? [];
  return comment === undefined ? '' : (ts.getTextOfJSDocComment(comment.comment) ?? '');
};

/** Comments of the members of the interface, declared in the same file, that a constant has as type. */
const memberTexts = (file, type) => {
  const declared = parse(file).statements.find(
    (statement) => ts.isInterfaceDeclaration(statement) && statement.name.text === type?.getText(),
  );
  return new Map((declared?.members ?? []).map((one) => [one.name?.getText(), commentOf(one)]));
};

const constantsOf = (file) => {
  const found = [];
  for (const statement of parse(file).statements) {
    if (!ts.isVariableStatement(statement)) continue;
    const exported = (ts.getModifiers(statement) ?? []).some(
      ({ kind }) => kind === ts.SyntaxKind.ExportKeyword,
    );
    const text = commentOf(statement);
    for (const { name, type, initializer } of statement.declarationList.declarations)
      if (initializer !== undefined)
        found.push({ file, name: name.getText(), type, initializer, exported, text });
  }
  return found;
};

const operators = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '**': (a, b) => a ** b,
};

/** Number of a constant expression; undefined when it is none. */
const numberOf = (node, lookUp) => {
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node))
    return numberOf(node.expression, lookUp);
  if (ts.isIdentifier(node)) return lookUp(node.text);
  if (!ts.isBinaryExpression(node)) return undefined;
  const operate = operators[node.operatorToken.getText()];
  const left = numberOf(node.left, lookUp);
  const right = numberOf(node.right, lookUp);
  return operate === undefined || left === undefined || right === undefined
    ? undefined
    : operate(left, right);
};

const printed = (value) => (value === undefined ? '' : value.toLocaleString('en-US'));

const limitsPage = () => {
  const files = below('packages', (file) => /\/src\/.*(?<!\.test|\.d)\.ts$/.test(file)).filter(
    (file) => !file.startsWith('packages/testkit/'),
  );
  const constants = files.flatMap(constantsOf);
  const lookUpFrom = (file) => (name) => {
    const same = constants.filter((one) => one.name === name);
    const found = same.find((one) => one.file === file) ?? same.find((one) => one.exported);
    return found === undefined ? undefined : numberOf(found.initializer, lookUpFrom(found.file));
  };
  const rows = new Map();
  const add = (file, row) => {
    const [, name] = file.split('/');
    rows.set(name, [...(rows.get(name) ?? []), row]);
  };
  const members = ({ file, name, type, initializer }) => {
    const texts = memberTexts(file, type);
    for (const property of initializer.properties)
      if (ts.isPropertyAssignment(property) && limitName.test(property.name.getText()))
        add(file, [
          `\`${name}.${property.name.getText()}\``,
          printed(numberOf(property.initializer, lookUpFrom(file))),
          texts.get(property.name.getText()) ?? '',
        ]);
  };
  for (const constant of constants) {
    const { file, name, initializer, exported, text } = constant;
    if (exported && ts.isObjectLiteralExpression(initializer)) members(constant);
    const value = numberOf(initializer, lookUpFrom(file));
    // What is private and has no comment is a detail of its file, not a limit that anybody meets.
    if (limitName.test(name) && value !== undefined && (exported || text !== ''))
      add(file, [`\`${name}\``, printed(value), text.split('\n\n')[0].trim()]);
  }
  return `# Limits

<!-- Written by test/run/generate-docs.mjs from the constants of the packages. -->

Every bound of the code, by package. \`Bytes\` are bytes, \`Ms\` milliseconds, \`Length\` UTF-16 units, others counts. Formats
have further fixed bounds: see [model](spec/model.md) and [protocol](spec/protocol.md).

${[...rows]
  .map(([name, list]) => `## ${name}\n\n${table(['Constant', 'Value', 'What it bounds'], list)}`)
  .join('\n\n')}
`;
};

const check = process.argv.includes('--check');
let stale = false;
for (const [file, text] of [
  ['docs/errors.md', errorsPage()],
  ['docs/limits.md', limitsPage()],
]) {
  const full = path.join(root, file);
  const options = await prettier.resolveConfig(full);
  const wanted = await prettier.format(text, { ...options, filepath: full });
  if (existsSync(full) && readFileSync(full, 'utf8') === wanted) continue;
  if (check) {
    stale = true;
    console.error(`${file} is not current: run node test/run/generate-docs.mjs`);
  } else {
    writeFileSync(full, wanted);
    console.log(`wrote ${file}`);
  }
}
process.exitCode = stale ? 1 : 0;
