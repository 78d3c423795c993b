/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing this process's box. One box per process; the functions that append want the PROFILE
 * lock held by the caller, the others take the BOX lock themselves.
 */
#ifndef MAL_BOX_WRITER_H
#define MAL_BOX_WRITER_H

#include "box/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_BOX_NONE UINT32_MAX

/* True once a box exists; acquire. */
bool mal_writer_is_open(void);

/* Copies what the environment says about the place of boxes. Once, as early as there is an
 * environment, from the thread that may change it. */
void mal_writer_remember_place(void);
/* False before that: what runs from .preinit_array comes before libc has an environment. */
bool mal_writer_knows_place(void);

/* Creates the box: a file where possible, else anonymous memory. One line in the life of a process
 * on standard error where a file was to be expected, or there is no memory. After a fork it first
 * copies what the parent's box said about modules, stacks and buckets, with all counts zero.
 * `options` is text for the header. 0 or -ENOMEM. PROFILE lock held. */
int mal_writer_open(const char *options, unsigned cpus);

/* Makes the box known to threads that do not hold the PROFILE lock: everything is in place. */
void mal_writer_announce(void);

/* Whether a box that is opened now would take over what a parent's says. PROFILE lock held. */
bool mal_writer_has_parent(void);

/* The mapping, for the reader in this process. */
const void *mal_writer_base(void);
/* The file, "" for anonymous memory. */
const char *mal_writer_path(void);

/* Appending; PROFILE lock held. MAL_BOX_NONE where the table, or the tmpfs, is full. */
struct mal_box_string mal_writer_add_string(const char *text, size_t bytes);
uint32_t mal_writer_add_stack(const uintptr_t *pcs, size_t depth);
uint32_t mal_writer_add_bucket(const struct mal_box_bucket *key);
bool mal_writer_add_module(const struct mal_box_module *module); /* sets its first_stack */

/* Looking at what was appended; any thread. Index below the published count. */
struct mal_box_bucket *mal_writer_bucket(uint32_t index);
const uint64_t *mal_writer_stack(uint32_t word);

/* The counts of all buckets: mal_box_count_at says where. Constant for as long as the box exists.
 */
struct mal_writer_counts {
    struct mal_box_count *count;
    uint32_t stripes;
};
struct mal_writer_counts mal_writer_counts(void);
uint32_t mal_writer_module_count(void);
struct mal_box_module *mal_writer_module(uint32_t index);

/* Counts a sample that found no room. */
void mal_writer_drop(uint64_t bytes);

void mal_writer_set_rate(uint64_t rate_bytes);
void mal_writer_publish(const struct mal_box_stats *stats);
/* Whole lines, at most 4096 bytes at once. */
void mal_writer_trace(const char *text, size_t bytes);

/* Rewriting the map of spans; background thread only. Begin, put in the order of addresses, end. A
 * full table leaves the rest out. `total` and `stride` as the layout says. */
void mal_writer_spans_begin(uint64_t base_address, uint64_t page_bytes);
bool mal_writer_spans_put(const struct mal_box_span *span);
/* The entry that covers a page, to name a stack in it; NULL when none does. */
struct mal_box_span *mal_writer_spans_find(uint64_t page);
/* Returns how many are listed. */
uint32_t mal_writer_spans_end(uint64_t total, uint32_t stride);

/* Ends a wait for requests early; one that begins just now may miss it. */
void mal_writer_wake(void);

/* The background thread's side of the mailbox: waits up to timeout_ns for a request. True, and the
 * request in the out-parameters, when there is one; answer it. */
bool mal_writer_await_request(uint64_t timeout_ns, enum mal_box_command *ret_command,
                              int64_t *ret_argument);
void mal_writer_answer(int64_t result, int error);

/* Marks a clean exit and removes the file unless it is to be kept. */
enum mal_writer_end { MAL_WRITER_REMOVE, MAL_WRITER_KEEP };
void mal_writer_finish(int exit_code, enum mal_writer_end end);

/* Removes the file; the box goes on without. */
void mal_writer_hide(void);

/* Removes what an earlier image of this process left behind an exec. Once, before a box is made. */
void mal_writer_remove_predecessor(void);

/* In a forked child: from here on the parent's box is only read. */
void mal_writer_forget_in_child(void);

void mal_writer_before_fork(void);
void mal_writer_after_fork(void);

#endif
