/**
 * Changes of the TypeScript that make no difference, each with why: the file of dist/, the line, what stands in it, what it
 * becomes.
 */
export const EQUAL = [];
