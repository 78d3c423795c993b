/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the reader share. See reader.c.
 */
#ifndef MAL_BOX_READER_PRIVATE_H
#define MAL_BOX_READER_PRIVATE_H

#include "box/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct mal_snapshot;

struct mal_box_reader {
    int fd;                       /* -1: memory */
    bool writable;                /* the descriptor is open for writing */
    const uint8_t *base;          /* memory only */
    uint64_t bytes;               /* length at open */
    struct mal_box_header header; /* as checked at open */
    uint32_t owner_uid;           /* of the file; for memory the effective user */
    char *path;
    char *root;   /* NULL: none set */
    uint32_t pid; /* of the process as we see it; 0: as the box says */
};

uint32_t mal_reader_pid(const struct mal_box_reader *reader);

/* Copies `bytes` from offset `at` of a section; -EBADMSG outside of it or of the file. */
int mal_reader_section(const struct mal_box_reader *reader, enum mal_box_section_id id, uint64_t at,
                       void *to, size_t bytes);

/* The first `bytes` of a section, to be freed; one spare byte keeps empty ones apart from NULL.
 * Does nothing once *error is set. */
void *mal_reader_load(const struct mal_box_reader *reader, enum mal_box_section_id id, size_t bytes,
                      int *error);

/* Whether a stack at word `at` of the `used` words of a private copy lies inside them. */
bool mal_reader_stack_is_sound(const uint64_t *stacks, uint32_t used, uint32_t at);

/* Moves modules that were unloaded, and what passed through them, to where nothing else is.
 * `stacks` is the private copy that the buckets point into. */
void mal_reader_set_unloaded_apart(struct mal_snapshot *snapshot, uint64_t *stacks);

/* The header as it is now; its lengths fit the sections known from open. A fence orders the
 * lengths before the entries that the caller copies next. */
int mal_reader_header(const struct mal_box_reader *reader, struct mal_box_header *ret_header);

/* Waits a moment before a sequence lock is tried again; -EAGAIN once `deadline_ns` is over. */
int mal_reader_wait_for_writer(uint64_t deadline_ns);
uint64_t mal_reader_patience_ns(void); /* the deadline for one that begins now */

void mal_reader_nap_ns(long ns);

#endif
