/* SPDX-License-Identifier: Apache-2.0
 *
 * The resident set of one process, taken apart. Whatever is known or not, the parts add up to the
 * whole exactly and none is negative.
 */
#ifndef MAL_VIEW_RSS_H
#define MAL_VIEW_RSS_H

#include "box/reader.h"
#include "view/buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* In the order in which people read them. */
enum view_rss_part {
    VIEW_RSS_LIVE,
    VIEW_RSS_FREE_IN_SPANS, /* and what no object fits into: the tails of spans */
    VIEW_RSS_CPU_CACHES,    /* per-CPU and transfer caches */
    VIEW_RSS_FREE_PAGES,    /* pages without a span that the OS has not back */
    VIEW_RSS_TABLES,        /* Mallard's own structures */
    VIEW_RSS_PROFILER,      /* the box and the profiler's tables */
    VIEW_RSS_STACKS,
    VIEW_RSS_CODE_FILES, /* mapped files, and the static data of programs and libraries */
    VIEW_RSS_REST,       /* mappings that the program made itself, other allocators */
    VIEW_RSS_PARTS
};

const char *view_rss_key(enum view_rss_part part);   /* "live" */
const char *view_rss_label(enum view_rss_part part); /* "live objects" */

struct view_rss {
    uint64_t resident_bytes;
    bool measured; /* by the kernel's account of every mapping; else by statistics alone */
    uint64_t part[VIEW_RSS_PARTS];
};

/* Asks the kernel about the process `pid` of our pid namespace. `box_name` is the name of its box's
 * file, "" unknown; `stats` are best published a moment ago. Returns 0 or -errno: the process is
 * gone, or not ours to look at. */
int view_rss_measure(uint32_t pid, const char *box_name, const struct mal_box_stats *stats,
                     struct view_rss *ret_rss);

/* From the statistics alone: what cannot be known of them (stacks, code, other mappings) is in the
 * rest. */
void view_rss_estimate(const struct mal_box_stats *stats, struct view_rss *ret_rss);

/* Nobody has measured the part: its 0 says nothing. */
bool view_rss_is_unknown(const struct view_rss *rss, enum view_rss_part part);

/* "RSS 1.84 GiB = 1.21 GiB live objects (call sites known to ±2 %) + …", without a newline.
 * `live_spread` is what view_live_spread gives; negative: unknown. */
void view_rss_sentence(const struct view_rss *rss, double live_spread, struct view_buffer *out);

/* How well the samples know the live bytes: one standard deviation of their estimate, divided by
 * the estimate; negative when nothing is known. 0: everything was recorded. */
double view_live_spread(const struct mal_snapshot *snapshot);

#endif
