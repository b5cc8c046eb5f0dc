/** How often a follower asks whether the leader is there, in milliseconds. */
export const PING_MS = 250;

/** How long a leader may leave that unanswered before it is suspected, in milliseconds. */
export const SILENCE_MS = 500;

/**
 * How long a suspected leader has, in milliseconds; with it a takeover takes less than a second. In that time a follower that
 * was itself frozen hears the answers that wait for it.
 */
export const GRACE_MS = 100;
