/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace lines, in Go's form: to the box always, to standard error where MALLARD_DEBUG asks for it.
 */
#ifndef MAL_FRONT_TRACE_H
#define MAL_FRONT_TRACE_H

/* One line about the scavenger, if it returned anything in the background or eagerly since the
 * last. Background thread. */
void mal_trace_scavenge(void);

/* One line about a release of everything that was just asked for. Any thread. */
void mal_trace_scavenge_forced(void);

#endif
