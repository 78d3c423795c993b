/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a program can run on Mallard.
 */
#ifndef MAL_CLI_CHECK_H
#define MAL_CLI_CHECK_H

#include <stdbool.h>

/* The first reason why `program`, found as the shell would, cannot, as a sentence that lives
 * forever; NULL when none was found. */
const char *cli_check_program(const char *program);

/* Whether musl's loader would load it: that one does not start a program that ours is preloaded
 * into. */
bool cli_program_is_musls(const char *program);

#endif
