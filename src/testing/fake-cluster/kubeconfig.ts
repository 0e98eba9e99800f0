import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface KubeconfigSettings {
  readonly server: string;
  readonly token: string;
  readonly namespace: string;
  /** PEM; undefined where the server speaks plain HTTP. */
  readonly ca: string | undefined;
}

/** A kubeconfig with one cluster, user and context. */
export function kubeconfigText({ server, token, namespace, ca }: KubeconfigSettings): string {
  const trust =
    ca === undefined
      ? 'insecure-skip-tls-verify: true'
      : `certificate-authority-data: ${Buffer.from(ca).toString('base64')}`;
  return `apiVersion: v1
kind: Config
current-context: fake
clusters:
- name: fake
  cluster:
    server: ${server}
    ${trust}
users:
- name: app
  user:
    token: ${token}
contexts:
- name: fake
  context:
    cluster: fake
    user: app
    namespace: ${namespace}
`;
}

/** A file in a directory of its own, which only this user can read: it holds a token. */
export class TemporaryFile {
  readonly path: string;
  readonly #directory: string;

  private constructor(directory: string, name: string) {
    this.#directory = directory;
    this.path = join(directory, name);
  }

  static async create(name: string, text: string): Promise<TemporaryFile> {
    const file = new TemporaryFile(await mkdtemp(join(tmpdir(), 'steersman-')), name);
    await file.write(text);
    return file;
  }

  async write(text: string): Promise<void> {
    await writeFile(this.path, text, { mode: 0o600 });
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}
