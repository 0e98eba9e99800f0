import './check-node.ts';

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
