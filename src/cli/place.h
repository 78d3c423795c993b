/* SPDX-License-Identifier: Apache-2.0
 *
 * Where `mallard run` puts the boxes of its program, and where it finds the library.
 */
#ifndef MAL_CLI_PLACE_H
#define MAL_CLI_PLACE_H

#include <stddef.h>

/* The library beside this program (a build folder), in ../lib from it (an installation), or by its
 * plain name. */
void cli_find_library(char *ret_path, size_t bytes);

/* A private folder for this run, or `keep` when that is not NULL (made if it is not there). 0 or a
 * negative errno. */
int cli_make_folder(const char *keep, char *ret_path, size_t bytes);

/* Removes boxes whose process is gone and then the folder. Leaves it while anything lives in it. */
void cli_remove_folder(const char *folder);

#endif
