/** The version of the JavaScript, equal to package.json's: `npm version` writes both, and a test compares them. */
export const VERSION = '0.1.0';
