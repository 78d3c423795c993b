/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel says about every mapping of a process, summed by what the mappings are for.
 */
#ifndef MAL_VIEW_RSS_MAPS_H
#define MAL_VIEW_RSS_MAPS_H

#include <stdint.h>
#include <stdio.h>

enum rss_use {
    RSS_USE_HEAP,  /* Mallard's heap */
    RSS_USE_BOX,   /* the box's file */
    RSS_USE_STACK, /* of any thread */
    RSS_USE_FILE,  /* files, code, static data */
    RSS_USE_TABLE, /* tables that may grow: the used beginning of what was reserved for them */
    RSS_USE_OTHER, /* anonymous: Mallard's other structures and whatever else there is */
    RSS_USES
};

struct rss_question {
    const char *box_name;         /* of the box's file, "" unknown */
    uint64_t heap_bytes;          /* how much address space the heap has */
    const uint64_t *stack_points; /* known stack pointers, in any order */
    size_t stack_point_count;
};

struct rss_maps {
    uint64_t resident_bytes[RSS_USES];
};

/* Reads the text of /proc/PID/smaps. */
int rss_maps_parse(FILE *smaps, const struct rss_question *question, struct rss_maps *ret_maps);

/* Reads those of process `pid`, with its stack pointers where the kernel shows them; `question`
 * may leave them out. */
int rss_maps_read(uint32_t pid, const struct rss_question *question, struct rss_maps *ret_maps);

/* VmRSS of /proc/PID/status in bytes. */
int rss_total_read(uint32_t pid, uint64_t *ret_bytes);

#endif
