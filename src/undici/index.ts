/** The one place that imports undici for its values: evaluated in this order, it leaves the app's global dispatcher alone. */
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
} from 'undici';

import './restore.ts';
