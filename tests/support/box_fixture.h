/* SPDX-License-Identifier: Apache-2.0
 *
 * A valid box built by hand: what a writer would have written, without a writer. The box starts
 * out RUNNING with the caller's own pid and start time, no modules, no buckets and zero
 * statistics; the functions below add to it. A test that wants a broken box breaks it through
 * box_fixture_header and box_fixture_section. Everything aborts on misuse: it is test code.
 */
#ifndef MAL_TESTS_SUPPORT_BOX_FIXTURE_H
#define MAL_TESTS_SUPPORT_BOX_FIXTURE_H

#include "box/layout.h"

#include <stddef.h>
#include <stdint.h>

#define BOX_FIXTURE_PATH_BYTES 512

struct box_fixture;

struct box_fixture *box_fixture_new(void);
void box_fixture_free(struct box_fixture *fixture); /* accepts NULL */

/* The box itself: MAL_BOX_BYTES long, page aligned. */
void *box_fixture_base(struct box_fixture *fixture);
size_t box_fixture_bytes(const struct box_fixture *fixture);
struct mal_box_header *box_fixture_header(struct box_fixture *fixture);
void *box_fixture_section(struct box_fixture *fixture, enum mal_box_section_id id);
struct mal_box_stats *box_fixture_stats(struct box_fixture *fixture);
struct mal_box_mailbox *box_fixture_mailbox(struct box_fixture *fixture);

/* Whom the box describes. `start_ticks` 0 means unknown. */
void box_fixture_set_process(struct box_fixture *fixture, uint32_t pid, uint64_t start_ticks);
void box_fixture_set_exited(struct box_fixture *fixture, int exit_code);
void box_fixture_set_exe(struct box_fixture *fixture, const char *exe);
/* `arguments` is NULL terminated. */
void box_fixture_set_cmdline(struct box_fixture *fixture, const char *const *arguments);
void box_fixture_set_options(struct box_fixture *fixture, const char *options);

struct mal_box_string box_fixture_add_string(struct box_fixture *fixture, const void *data,
                                             size_t bytes);
/* Adds a copy of `module` with `path`; returns the entry in the box. */
struct mal_box_module *box_fixture_add_module(struct box_fixture *fixture,
                                              const struct mal_box_module *module,
                                              const char *path);
/* Adds what is loaded in the calling process, with build-ids; the program comes first. */
void box_fixture_add_own_modules(struct box_fixture *fixture);
/* Adds the file at `path` as if mapped with this load bias; its executable segments are read from
 * the ELF headers. Returns the run-time start of the first one, 0 when there is none. */
uint64_t box_fixture_add_file(struct box_fixture *fixture, const char *path, uint64_t load_bias);

uint32_t box_fixture_add_stack(struct box_fixture *fixture, const uint64_t *pcs, uint32_t depth);
struct mal_box_bucket *box_fixture_add_bucket(struct box_fixture *fixture, uint32_t stack,
                                              uint64_t size, uint64_t rate, uint64_t allocs,
                                              uint64_t frees);
/* Where the counts of a bucket lie: allocations in the first stripe, frees in the last, as if all
 * objects had been freed on another CPU. */
uint64_t *box_fixture_allocs(struct box_fixture *fixture, uint32_t bucket);
uint64_t *box_fixture_frees(struct box_fixture *fixture, uint32_t bucket);

/* Statistics of a plausible process that satisfy every equation of MAL_STATS. */
void box_fixture_fill_stats(struct box_fixture *fixture);
void box_fixture_add_history(struct box_fixture *fixture, const struct mal_box_history_row *row);
void box_fixture_add_trace(struct box_fixture *fixture, const char *text);
/* Adds an entry to the map of spans; 8 KiB pages from 1 TiB on, stride 1. */
void box_fixture_add_span(struct box_fixture *fixture, const struct mal_box_span *span);

/* A plausible box for tests that do not care about details: own modules, four buckets at
 * addresses inside the calling program, statistics, history and trace. */
struct box_fixture *box_fixture_typical(void);

/* Writes the box as "<folder>/<pid>.<start_ticks>.mallard", mode 0600, sparse. */
void box_fixture_save(struct box_fixture *fixture, const char *folder,
                      char ret_path[BOX_FIXTURE_PATH_BYTES]);

/* Answers the mailbox of the box file at `path` from a thread of the calling process until
 * stopped: result = answer(command, argument, &error). Sets `served`. */
typedef int64_t box_answer(uint32_t command, int64_t argument, int32_t *ret_error);
struct box_server;
struct box_server *box_server_start(const char *path, box_answer *answer);
/* The same for a box in memory, which must stay until the server is stopped. */
struct box_server *box_server_start_memory(struct box_fixture *fixture, box_answer *answer);
void box_server_stop(struct box_server *server);

/* Field 22 of /proc/PID/stat; 0 when it cannot be read. */
uint64_t box_fixture_start_ticks(uint32_t pid);

#endif
