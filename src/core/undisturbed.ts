/** Calls a listener. What it throws is its own: an uncaught exception, which disturbs neither the caller nor other listeners. */
export function undisturbed(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
