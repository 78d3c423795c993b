/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap profiles in memory, from wherever people say they are.
 */
#ifndef MAL_CLI_LOAD_H
#define MAL_CLI_LOAD_H

#include "cli/processes.h"
#include "view/profile.h"
#include "view/view.h"

/* The profile of a box as it is now. Free with view_profile_free. 0 or -errno. */
int load_box(struct mal_box_reader *reader, struct view_symbols *symbols,
             struct view_profile *ret_profile);

/* A stored profile of the process with that folder: the newest one not younger than `unix_s`, as it
 * lies there. Complains, with `text` as the user wrote it. */
int load_stored_bytes(const char *folder, const char *text, uint64_t unix_s,
                      struct view_buffer *out);

/* The profile that `text` names: a file (profile or box), PID or PID.START (now, or the last one of
 * a dead process), or PID@TIME (cli/when.h). Complains. */
int load_profile(const struct cli_keeps *keeps, const char *text, struct view_profile *ret_profile);

/* Splits "PID@TIME" into the process and the moment. -ENOENT: there is no '@' in it; -EINVAL after
 * the complaint. */
#define LOAD_NAME_BYTES 64
int load_split(const char *text, char ret_name[LOAD_NAME_BYTES], uint64_t *ret_unix_s);

#endif
