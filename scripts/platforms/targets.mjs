/**
 * The platforms, in the order of the table. Releases build Windows by msvc, on Windows itself: the libraries that its
 * linker needs cannot be had here, so it is type-checked, and what is built and run is Windows by mingw and gnullvm.
 *
 * zig links, against the glibc that is named; but for mingw, which is Debian's `package`.
 */
export const targets = [
  { name: 'linux-x64-gnu', triple: 'x86_64-unknown-linux-gnu', glibc: '2.17' },
  { name: 'linux-arm64-gnu', triple: 'aarch64-unknown-linux-gnu', glibc: '2.31' },
  { name: 'linux-x64-musl', triple: 'x86_64-unknown-linux-musl' },
  { name: 'linux-arm64-musl', triple: 'aarch64-unknown-linux-musl' },
  { name: 'darwin-x64', triple: 'x86_64-apple-darwin' },
  { name: 'darwin-arm64', triple: 'aarch64-apple-darwin' },
  { name: 'win32-x64', triple: 'x86_64-pc-windows-gnu', package: 'gcc-mingw-w64-x86-64-win32' },
  { name: 'win32-arm64', triple: 'aarch64-pc-windows-gnullvm' },
  { name: 'win32-x64-msvc', triple: 'x86_64-pc-windows-msvc', typesOnly: true },
  { name: 'win32-arm64-msvc', triple: 'aarch64-pc-windows-msvc', typesOnly: true },
];
