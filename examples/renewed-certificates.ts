// Certificates that are renewed on disk, as cert-manager and the kubelet do it: new connections take them at once.
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type Client, createClient } from 'steersman';

const files = { ca: 'ca.crt', cert: 'tls.crt', key: 'tls.key' };

export async function mutualTls(name: string, folder: string, options = {}): Promise<Client> {
  const read = (file: string): Promise<Buffer> => readFile(`${folder}/${file}`);
  const material = async () => {
    const [ca, cert, key] = await Promise.all([read(files.ca), read(files.cert), read(files.key)]);
    return { ca, cert, key };
  };
  const client = createClient(name, { ...options, tls: await material() });
  // Half a change, such as a key without its certificate, is refused; the other half follows.
  const renew = () => material().then((tls) => client.update({ tls }));
  watch(folder, { persistent: false }, () => renew().catch((error) => console.warn(error.message)));
  return client;
}
