import fs from 'node:fs';
import path from 'node:path';
import esbuild from 'esbuild';

/**
 * Makes dist/cjs/: the modules of dist/ as CommonJS, for runtimes whose require() takes no ES module (Node.js before 20.19
 * and 22.12). By package.json's `module-sync` all others get the ES modules, whether they import or require. Where there is
 * no such condition, `import` gets a module that passes the CommonJS one on: a process has the package once.
 */
export async function commonJs(root) {
  const dist = path.join(root, 'dist');
  const cjs = path.join(dist, 'cjs');
  fs.rmSync(cjs, { recursive: true, force: true });
  const files = fs.readdirSync(dist, { recursive: true }).filter((file) => !/^cli[\\/]/.test(file));
  for (const file of files.filter((name) => name.endsWith('.d.ts'))) {
    fs.mkdirSync(path.dirname(path.join(cjs, file)), { recursive: true });
    fs.copyFileSync(path.join(dist, file), path.join(cjs, file));
  }

  // Modules that stand on preview2-shim, which is an ES module alone, are one here too, above the CommonJS of the others.
  const isAboveShim = (file) => /from '@bytecodealliance\//.test(fs.readFileSync(path.join(dist, file), 'utf8'));
  const modules = files.filter((name) => name.endsWith('.js') && !name.endsWith('shim-worker.js'));
  const aboveShim = modules.filter(isAboveShim);
  const build = (options) =>
    esbuild.build({
      platform: 'node',
      target: 'node20',
      logLevel: 'error',
      logOverride: { 'empty-import-meta': 'silent' },
      absWorkingDir: dist,
      outbase: '.',
      outdir: 'cjs',
      ...options,
    });
  await build({
    entryPoints: modules.filter((name) => !aboveShim.includes(name)),
    format: 'cjs',
    plugins: [deeper(/native.binary\.js$/, '../../wasi-udp.', '../../../wasi-udp.')],
  });

  const { exports } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const [name, entry] of Object.entries(exports)) {
    if (entry.require === undefined) continue;
    const own = path.relative('dist/cjs', entry.require.default);
    if (!aboveShim.includes(own)) {
      const from = `from './${path.basename(own)}';\n`;
      const hasDefault = /^export default /m.test(fs.readFileSync(path.join(dist, own), 'utf8'));
      // The default of a CommonJS module is all of its exports.
      const rest = hasDefault ? `import exports_ ${from}export default exports_.default;\n` : '';
      fs.writeFileSync(path.join(root, entry.import.default), `export * ${from}${rest}`);
      continue;
    }
    fs.writeFileSync(path.join(cjs, own), refusal(path.posix.join('wasi-udp', name)));
    // The shim's worker is a thread of its own, and loads the ES modules.
    const worker = deeper(/shim-pollable\.js$/, './shim-worker.js', '../../host/shim-worker.js');
    await build({
      entryPoints: [own],
      format: 'esm',
      bundle: true,
      outExtension: { '.js': '.mjs' },
      plugins: [outside(dist, aboveShim), worker],
    });
  }
  fs.writeFileSync(path.join(cjs, 'package.json'), '{ "type": "commonjs" }\n');
}

/** What require() gets where it cannot get the modules above the shim. */
function refusal(specifier) {
  const message =
    `${specifier} stands on @bytecodealliance/preview2-shim, an ES module, which require() of this runtime does not take: ` +
    `load it by await import('${specifier}'), or take Node.js 20.19, 22.12 or newer`;
  return `throw Object.assign(new Error(${JSON.stringify(message)}), { code: 'ERR_REQUIRE_ESM' });\n`;
}

/** Leaves all but these modules outside a bundle. */
function outside(dist, modules) {
  return {
    name: 'outside',
    setup(build) {
      build.onResolve({ filter: /^@bytecodealliance\// }, () => ({ external: true }));
      build.onResolve({ filter: /^\./ }, ({ path: specifier, resolveDir, kind }) => {
        const isOurs =
          kind === 'entry-point' || modules.includes(path.relative(dist, path.join(resolveDir, specifier)));
        return isOurs ? undefined : { path: specifier, external: true };
      });
    },
  };
}

/** Has a file, which lies a folder deeper than in dist/, name by another path what it names. */
function deeper(filter, from, to) {
  return {
    name: 'deeper',
    setup(build) {
      build.onLoad({ filter }, ({ path: file }) => {
        const text = fs.readFileSync(file, 'utf8');
        if (!text.includes(from)) throw new Error(`${file} does not name ${from}`);
        return { contents: text.replaceAll(from, to) };
      });
    },
  };
}
