import './check-node.ts';

export { type AdaptiveOptions, adaptive } from './balancers/adaptive.ts';
export { type ConsistentHashOptions, consistentHash } from './balancers/consistent-hash.ts';
export { type LeastConnectionOptions, leastConnection } from './balancers/least-connection.ts';
export { inflight, type PeakEwmaOptions, peakEwma } from './balancers/load.ts';
export { type PowerOfTwoOptions, powerOfTwo } from './balancers/power-of-two.ts';
export { type RandomOptions, random } from './balancers/random.ts';
export { type RoundRobinOptions, roundRobin } from './balancers/round-robin.ts';
export { type WeightedRoundRobinOptions, weightedRoundRobin } from './balancers/weighted-round-robin.ts';
export { type ZoneAwareOptions, zoneAware } from './balancers/zone-aware.ts';
export { type AgentOptions, type AnyDispatcher, ServiceAgent } from './client/agent.ts';
export type { CallOptions } from './client/call.ts';
export {
  type Client,
  type ClientRequestOptions,
  createClient,
  type PickedLease,
  type PickOptions,
} from './client/client.ts';
export type { ClientEvent, ClientEvents, Listener } from './client/events.ts';
export { createFetch, type Fetch, type FetchInit } from './client/fetch.ts';
export type { EndpointSnapshot } from './client/fleet.ts';
export type {
  BudgetOptions,
  EndpointCircuitOptions,
  HedgeOptions,
  PoolOptions,
  QueueOptions,
  RetryOptions,
  ServiceCircuitOptions,
  ServiceOptions,
  TimeoutOptions,
  TlsOptions,
} from './client/options.ts';
export type { ServiceSnapshot } from './client/service.ts';
export type { Backend, Backends } from './core/backend.ts';
export type { Balancer, Load, PickRequest } from './core/balancer.ts';
export type { Cancel, Clock, Random } from './core/clock.ts';
export type { Endpoint } from './core/endpoint.ts';
export {
  type Attempt,
  CircuitOpenError,
  ClosedError,
  DeadlineError,
  DiscoveryError,
  DiscoveryWarning,
  type FailureClass,
  isDiscoveryError,
  NoEndpointsError,
  OverloadError,
  type Phase,
  ResolveError,
} from './core/errors.ts';
export type { Outcome, Release } from './core/outcome.ts';
export type { Resolver, ResolverListener, SetInfo, Watch } from './core/resolver.ts';
export type { Target } from './core/target.ts';
export type { ServiceIdentity, Transport } from './core/transport.ts';
export { type AutoOptions, auto } from './resolvers/auto.ts';
export { type DnsOptions, dns } from './resolvers/dns.ts';
export { type DnsSrvOptions, dnsSrv } from './resolvers/dns-srv.ts';
export type { EndpointEntry } from './resolvers/entries.ts';
export { env } from './resolvers/env.ts';
export { fallback } from './resolvers/fallback.ts';
export { fixed } from './resolvers/fixed.ts';
export {
  type KubernetesOptions,
  kubernetes,
  WatchError,
  type WatchErrorCode,
} from './resolvers/kubernetes.ts';
export { type Lookup, type PollingOptions, polling } from './resolvers/polling.ts';
export { type SubsetOptions, subset } from './resolvers/subset.ts';
