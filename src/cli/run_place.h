/* SPDX-License-Identifier: Apache-2.0
 *
 * What `mallard run` prepares around a program: the library to preload and the folder for boxes.
 */
#ifndef MAL_CLI_RUN_PLACE_H
#define MAL_CLI_RUN_PLACE_H

#include <limits.h>

/* libmallard.so.0 beside this command, in ../lib or ../lib/<machine> of it, else the plain name,
 * which the loader then looks for. */
void run_library_find(char ret_path[PATH_MAX]);

/* Puts the library, unless it is NULL, in front of LD_PRELOAD, names the folder, asks for a box
 * from the start (we watch), and takes MALLARD_HTTP away: the parent serves. Changes this process's
 * environment. 0 or -errno. */
int run_environment_set(const char *library, const char *folder);

/* Makes run.<pid> in the folder of boxes, and removes what earlier runs left. Complains. */
int run_folder_make(char ret_path[PATH_MAX]);

/* The folder that the user named: made if it is missing, as an absolute path. Complains. */
int run_folder_keep(const char *folder, char ret_path[PATH_MAX]);

/* Removes the boxes of processes that are gone, and the folder if none is left. */
void run_folder_remove(const char *path);

#endif
