/** Refuses a Node that undici 8 cannot run on, with one sentence. Imported first by every entry point. */
const needed = [22, 19] as const;
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < needed[0] || (major === needed[0] && minor < needed[1])) {
  throw new Error(
    `steersman needs Node ${needed.join('.')} or newer, and this is Node ${process.versions.node}`,
  );
}
