/** The one place that imports undici for its values: evaluated in this order, it leaves the app's global dispatcher alone. */
export * from './values.ts';

import './restore.ts';
