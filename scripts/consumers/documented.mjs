import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { packageFolder } from '../runtimes.mjs';
import { root } from '../setup.mjs';

/**
 * Every exported name of the published types, and every member of one, has a comment, with what functions and methods take and give;
 * nothing of it is internal.
 */
export function documented(consumer) {
  const home = consumer.at('node_modules/wasi-udp');
  const { exports } = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8'));
  const entries = Object.entries(exports).filter(([, entry]) => entry.import?.types !== undefined);
  for (const [name, entry] of entries) {
    consumer.check(`the comments of ${path.posix.join('wasi-udp', name)}`, () => {
      const { lacking, seen } = lackingOf(path.join(home, entry.import.types));
      if (lacking.length > 0) throw new Error(lacking.join('\n'));
      if (name === '.' && seen < 100) throw new Error(`only ${seen} names were looked at`);
    });
  }
  consumer.check('no type is internal', () => {
    const files = fs.readdirSync(path.join(home, 'dist'), { recursive: true }).filter((file) => file.endsWith('.d.ts'));
    const internal = files.filter((file) =>
      fs.readFileSync(path.join(home, 'dist', file), 'utf8').includes('@internal'),
    );
    if (internal.length > 0) throw new Error(internal.join('\n'));
  });
}

/** Whether something is declared in the package. */
function isOfPackage(declaration) {
  return declaration.getSourceFile().fileName.includes('/wasi-udp/');
}

/** What lacks a comment in the types of an entry, of how many: names, members, what functions and methods take and return, and what functions look like. */
function lackingOf(file) {
  // The compiler of this checkout has no interface for programs.
  const ts = createRequire(import.meta.url)(packageFolder('typescript@5.9'));
  const options = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    typeRoots: [path.join(root, 'node_modules/@types')],
    types: ['node'],
  };
  const program = ts.createProgram([file], options);
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(file));
  const lacking = [];
  let seen = 0;

  const look = (symbol, name) => {
    seen += 1;
    const comment = ts.displayPartsToString(symbol.getDocumentationComment(checker));
    if (comment.trim() === '') lacking.push(`${name} has no comment`);
  };
  const lookAtSignature = (signature, tags, name) => {
    const has = (tag) => tags.some((one) => one.name === tag);
    const described = tags.filter((one) => one.name === 'param').map((one) => one.text?.[0]?.text);
    for (const parameter of signature.getParameters())
      if (!described.includes(parameter.name)) lacking.push(`${name} has no @param ${parameter.name}`);
    const returned = checker.typeToString(signature.getReturnType());
    if (!/^(void|Promise<void>)$/.test(returned) && !has('returns')) lacking.push(`${name} has no @returns`);
  };
  const lookAtFunction = (symbol, name) => {
    const tags = symbol.getJsDocTags(checker);
    if (!tags.some((one) => one.name === 'example')) lacking.push(`${name} has no @example`);
    lookAtSignature(checker.getTypeOfSymbol(symbol).getCallSignatures()[0], tags, name);
  };
  const lookAtMember = (member, declaration, name) => {
    if (declaration.kind === ts.SyntaxKind.Constructor) {
      for (const parameter of declaration.parameters)
        if (ts.getJSDocParameterTags(parameter).length === 0)
          lacking.push(`${name} has no @param ${parameter.name.getText()}`);
      return;
    }
    look(member, name);
    // A method that implements an interface's has the comment there.
    if (member.flags & ts.SymbolFlags.Method)
      lookAtSignature(checker.getTypeOfSymbol(member).getCallSignatures()[0], member.getJsDocTags(checker), name);
  };

  for (const exported of checker.getExportsOfModule(module)) {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    // What is Node.js's own has its documentation there.
    if (!symbol.declarations.some(isOfPackage)) continue;
    look(symbol, exported.name);
    if (symbol.flags & ts.SymbolFlags.Function) lookAtFunction(symbol, exported.name);
    if (!(symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface))) continue;
    for (const member of [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])]) {
      const [declaration] = member.declarations ?? [];
      const { Accessor, Constructor, Method, Property } = ts.SymbolFlags;
      const isPlain = member.flags & (Accessor | Constructor | Method | Property);
      const isHidden =
        declaration !== undefined &&
        ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected);
      if (
        declaration !== undefined &&
        isOfPackage(declaration) &&
        isPlain &&
        !isHidden &&
        !(declaration.name && ts.isPrivateIdentifier(declaration.name))
      )
        lookAtMember(member, declaration, `${exported.name}.${declaration.name?.getText() ?? 'constructor'}`);
    }
  }
  return { lacking, seen };
}
