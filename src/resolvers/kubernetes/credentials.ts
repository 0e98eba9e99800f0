/** TLS options of connections to the API server. */
export interface ClusterTls {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized: boolean;
}

/** What one request to the API server needs. */
export interface Credentials {
  /** Origin, and path where the server is behind one. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: ClusterTls;
  /** URL of an HTTP or SOCKS proxy. */
  readonly proxy?: string;
}

/** Where a cluster's API server is and who we are to it. */
export interface ClusterConfig {
  /** Equal keys share one connection. */
  readonly key: string;
  /** The namespace of the kubeconfig's context. */
  readonly namespace: string | undefined;
  /** Read for each request. `fresh`: nothing remembered may be used, for the server has refused it. */
  credentials(fresh: boolean): Promise<Credentials>;
}
