/**
 * The first versions of Node.js 20 have no `Symbol.dispose`, by which resources are dropped here: there it is the symbol that
 * preview2-shim takes. To be imported before whatever defines a method of that name.
 */
if (Symbol.dispose === undefined) {
  Object.defineProperty(Symbol, 'dispose', { value: Symbol.for('dispose') });
}
