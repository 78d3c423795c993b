/* SPDX-License-Identifier: Apache-2.0
 *
 * What each function of a profile stands for: by itself, and with all that it called.
 */
#ifndef MAL_CLI_FUNCTIONS_H
#define MAL_CLI_FUNCTIONS_H

#include "view/profile.h"

#include <stddef.h>
#include <stdint.h>

struct cli_function {
    const char *name; /* of the profile */
    const char *file;
    int64_t flat[VIEW_PROFILE_VALUES_MAX], cum[VIEW_PROFILE_VALUES_MAX];
};

struct cli_functions {
    struct cli_function *items;
    size_t count;
    int64_t total[VIEW_PROFILE_VALUES_MAX];
};

/* Sums the profile by the name of functions: one of the same name in another file is the same, as
 * `go tool pprof -top` has it. The profile must outlive the result. 0 or -ENOMEM. */
int cli_functions_sum(const struct view_profile *profile, struct cli_functions *ret_functions);
void cli_functions_free(struct cli_functions *functions);

#endif
