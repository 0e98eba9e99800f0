import { platformSlot, saved } from './save.ts';

const slots = globalThis as Record<symbol, unknown>;
if (slots[platformSlot] !== saved) slots[platformSlot] = saved;
