export function documents() {}
