/** What this library uses of undici. A module of its own, so that it is evaluated between `save.ts` and `restore.ts`. */
import './save.ts';

export {
  Agent,
  buildConnector,
  Client,
  Dispatcher,
  Dispatcher1Wrapper,
  errors,
  getGlobalDispatcher,
  Pool,
  ProxyAgent,
  Socks5ProxyAgent,
  util,
} from 'undici';
