/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the writer share. See writer.c, whose rules are meant below.
 */
#ifndef MAL_BOX_WRITER_PRIVATE_H
#define MAL_BOX_WRITER_PRIVATE_H

#include "box/layout.h"

#include <stdbool.h>
#include <stdint.h>

struct mal_writer_box {
    char *base;         /* rule 3 */
    uint32_t announced; /* rule 3; 1 once the box is complete */
    char *parent_base;  /* a forked child's view of its parent's box; PROFILE lock */
};
extern struct mal_writer_box mal_writer_box;

/* Where this writer puts what; readers take it from the header. */
static const uint64_t mal_writer_section_bytes[MAL_BOX_SECTIONS] = {
    [MAL_BOX_STATS] = sizeof(struct mal_box_stats),
    [MAL_BOX_MODULES] = MAL_BOX_MODULES_MAX * sizeof(struct mal_box_module),
    [MAL_BOX_STRINGS] = MAL_BOX_STRINGS_BYTES,
    [MAL_BOX_STACKS] = MAL_BOX_STACK_WORDS * sizeof(uint64_t),
    [MAL_BOX_BUCKETS] = MAL_BOX_BUCKETS_MAX * sizeof(struct mal_box_bucket),
    [MAL_BOX_COUNTS] = MAL_BOX_BUCKETS_MAX * MAL_BOX_STRIPES_MAX * sizeof(struct mal_box_count),
    [MAL_BOX_HISTORY] = sizeof(struct mal_box_history),
    [MAL_BOX_TRACE] = sizeof(struct mal_box_trace),
    [MAL_BOX_MAILBOX] = sizeof(struct mal_box_mailbox),
    [MAL_BOX_SPANS] = sizeof(struct mal_box_spans),
};

static inline uint64_t mal_writer_section_offset(enum mal_box_section_id section) {
    uint64_t offset = MAL_BOX_PAGE_BYTES;
    for (unsigned i = 0; i < (unsigned)section; i++)
        offset += MAL_BOX_ROUND(mal_writer_section_bytes[i]);
    return offset;
}

static inline void *mal_writer_section(enum mal_box_section_id section) {
    return mal_writer_box.base + mal_writer_section_offset(section);
}

static inline struct mal_box_header *mal_writer_header(void) {
    return (struct mal_box_header *)(void *)mal_writer_box.base;
}

/* Makes the first `bytes` of a section of the open box touchable. False: no memory, treat the
 * section as full. Under the lock that guards appending to that section. */
bool mal_writer_ensure(enum mal_box_section_id section, uint64_t bytes);

/* Maps an empty box, touchable where every box is from its first moment: a file where possible,
 * else anonymous memory; NULL without memory. PROFILE lock held, as for the two below. */
char *mal_writer_map(uint64_t start_ticks);

/* Removes the file, or gives its memory back where that is not allowed. Nothing without a file. */
void mal_writer_remove_file(void);

/* In a forked child: the file is the parent's. */
void mal_writer_forget_file(void);

#endif
