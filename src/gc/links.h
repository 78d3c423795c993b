/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that disappear: words of the program's that are set to zero when an object dies. Asked for
 * by libmallard-bdwgc.so alone (bdwgc/engine.h); weak references (gc/specials.h) cost no stop time.
 */
#ifndef MAL_GC_LINKS_H
#define MAL_GC_LINKS_H

/* World stopped, marking complete, marks untouched: links to what is not marked are emptied. Takes
 * time for each link that there is. */
void mal_gc_links_end_mark(void);
/* The short ones of these, before what is not marked may be marked for its finalizer. */
void mal_gc_links_empty_short(void);

void mal_gc_links_before_fork(void);
void mal_gc_links_after_fork(void);

#endif
