import { bundled } from '../../undici/save.ts';

// What the platform's own fetch says by default changed between the versions of its undici.

/** Ports that the platform's fetch refuses (https://fetch.spec.whatwg.org/#port-blocking). */
const blockedPorts: ReadonlySet<string> = new Set(
  (
    '1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 ' +
    '123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 ' +
    '990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080'
  ).split(' '),
);

export function isBlockedPort(port: string): boolean {
  return blockedPorts.has(port);
}

/** Whether a URL is one that the platform sends as it is written: it has its own ways with the others. */
export function isPlainUrl(url: URL): boolean {
  return (
    url.username === '' &&
    url.password === '' &&
    !isBlockedPort(url.port) &&
    (url.search !== '' || !url.href.includes('?'))
  );
}

/** What the platform's fetch can decode, as it says on HTTPS; on HTTP it offers less. */
export const acceptEncoding: { readonly http: string; readonly https: string } = {
  http: 'gzip, deflate',
  https: bundled >= 8 ? 'br, gzip, deflate, zstd' : 'br, gzip, deflate',
};

export const decodesZstd: boolean = bundled >= 7;

/** Whether the entry of a fetch on the performance timeline has the status of the answer. */
export const tellsStatus: boolean = bundled >= 7;

/** Whether the platform tells this origin the mode of the request: newer ones tell only those that are trustworthy. */
export function tellsMode(origin: string): boolean {
  return bundled < 8 || trustworthy.test(origin);
}

/** https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy */
const trustworthy = /^(?:https:|http:\/\/(?:127\.|\[::1\](?::|$)|(?:[^/:]+\.)?localhost\.?(?::|$)))/;
