/**
 * A `KubeConfig` of @kubernetes/client-node, told from other objects by some of its methods: its own types would be
 * compiled by everyone who compiles against ours.
 */
export interface LoadedKubeConfig {
  getCurrentContext(): string;
  getContextObject(name: string): object | null;
  getCurrentCluster(): object | null;
  getCurrentUser(): object | null;
  applyToHTTPSOptions(options: object): Promise<void>;
}
