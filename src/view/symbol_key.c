/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes two modules the same one: the build-id where there is one, else the file at the path
 * with its length and time of change. The base name counts always, as it is part of the names made
 * up for addresses without a symbol; and so does the user, since anybody can put any build-id into
 * a file of their own and have it name the functions of everybody else's programs.
 */
#include "view/symbol_file.h"
#include "view/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_PREFIX "file-"

static uint64_t hash_file(uint64_t seed, const char *path, const struct stat *status) {
    const uint64_t words[] = {status->st_dev, status->st_ino, (uint64_t)status->st_size,
                              (uint64_t)status->st_mtim.tv_sec, (uint64_t)status->st_mtim.tv_nsec};
    return view_hash_bytes(view_hash_bytes(seed, path, strlen(path)), words, sizeof(words));
}

static void name_file(const char *root, const char *path, char ret_name[VIEW_MODULE_NAME_BYTES]) {
    struct stat status;
    ret_name[0] = '\0';
    if (symbol_path_stat(root, path, &status) == 0)
        snprintf(ret_name, VIEW_MODULE_NAME_BYTES, FILE_PREFIX "%016" PRIx64 "%016" PRIx64,
                 hash_file(1, path, &status), hash_file(2, path, &status));
}

static void name_build_id(const struct mal_snapshot_module *module,
                          char ret_name[VIEW_MODULE_NAME_BYTES]) {
    _Static_assert(VIEW_MODULE_NAME_BYTES > 2 * MAL_BOX_BUILD_ID_MAX, "every build-id fits");
    for (size_t i = 0; i < module->build_id_bytes; i++)
        snprintf(ret_name + 2 * i, 3, "%02x", module->build_id[i]);
}

void symbol_key_of(const struct mal_snapshot *snapshot, size_t module,
                   struct view_module_key *ret_key) {
    const struct mal_snapshot_module *described = &snapshot->modules[module];
    ret_key->owner_uid = snapshot->owner_uid;
    if (described->build_id_bytes > 0)
        name_build_id(described, ret_key->name);
    else
        name_file(snapshot->root, described->path, ret_key->name);
}

static bool is_build_id(const struct view_module_key *key) {
    return key->name[0] && strncmp(key->name, FILE_PREFIX, strlen(FILE_PREFIX)) != 0;
}

bool symbol_key_same(const struct view_module_key *a, const char *a_path,
                     const struct view_module_key *b, const char *b_path) {
    if (a->owner_uid != b->owner_uid || strcmp(a->name, b->name) != 0)
        return false;
    if (is_build_id(a))
        return strcmp(view_base_name(a_path), view_base_name(b_path)) == 0;
    return strcmp(a_path, b_path) == 0;
}
