/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups are named by whoever makes them. Known makers:
 *
 *   systemd      /system.slice/nginx.service, /user.slice/…/user@1000.service/app.slice/x.scope,
 *                /machine.slice/machine-web.scope (nspawn)
 *   Docker       /docker/ID, /system.slice/docker-ID.scope
 *   Podman       /machine.slice/libpod-ID.scope[/container], /libpod_parent/libpod-ID,
 *                …/web.service/libpod-payload-ID; libpod-conmon-ID is the monitor, no container
 *   Kubernetes   /kubepods/burstable/podUID/ID, …/kubepods-burstable-podUID.slice/ENGINE-ID.scope
 *                with ENGINE cri-containerd, crio or docker; UID's dashes are '_' there;
 *                …-podUID.slice:cri-containerd:ID where the engine and the kubelet disagree
 *   others       /ecs/TASK/ID, /actions_job/ID, /lxc/NAME, /lxc.payload.NAME, /garden/NAME
 *
 * An ID is 64 hexadecimal digits (ECS: 32, a dash and decimal digits). The path is read word by
 * word from the root; the deepest unit and the deepest container count, since containers hold
 * services and services hold containers.
 *
 * SYNCHRONIZATION  None.
 */
#include "daemon/labels.h"

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define HEX "0123456789abcdef"
#define DECIMAL "0123456789"
#define ID_BYTES 64
#define POD_BYTES 36

/* One word of the path, and the word before it. */
struct word {
    const char *text;
    size_t bytes;
    char before[LABEL_BYTES];
};

static void set_label(char label[LABEL_BYTES], const char *text, size_t bytes) {
    snprintf(label, LABEL_BYTES, "%.*s", (int)(bytes < LABEL_BYTES ? bytes : LABEL_BYTES - 1),
             text);
}

static bool ends_with(const struct word *word, const char *suffix) {
    size_t bytes = strlen(suffix);
    return word->bytes > bytes && strncmp(word->text + word->bytes - bytes, suffix, bytes) == 0;
}

static bool begins_with(const struct word *word, const char *prefix) {
    return word->bytes > strlen(prefix) && strncmp(word->text, prefix, strlen(prefix)) == 0;
}

/* The length of a container's id at `text`, 0 when none ends with its characters there. */
static size_t id_bytes(const char *text, size_t left) {
    size_t hex = strspn(text, HEX);
    if (hex > left)
        hex = left;
    if (hex == ID_BYTES)
        return hex;
    if (hex != 32 || left <= hex + 1 || text[hex] != '-')
        return 0;
    size_t digits = strspn(text + hex + 1, DECIMAL);
    return digits > 0 && hex + 1 + digits == left ? left : 0;
}

/* The id after the engine's name and its separator: "docker-ID.scope", "x.slice:engine:ID". */
static const char *find_id(const struct word *word, size_t *ret_bytes) {
    const char *end = word->text + word->bytes;
    for (const char *at = word->text; at < end; at++) {
        if (at > word->text && at[-1] != '-' && at[-1] != ':')
            continue;
        *ret_bytes = id_bytes(at, (size_t)(end - at));
        const char *rest = at + *ret_bytes;
        if (*ret_bytes > 0 && (rest == end || *rest == '.'))
            return at;
    }
    return NULL;
}

static bool take_id(const struct word *word, struct labels *found) {
    size_t bytes;
    const char *id = find_id(word, &bytes);
    if (id == NULL)
        return false;
    if (strstr(word->text, "conmon") == NULL || strstr(word->text, "conmon") > id)
        set_label(found->container, id, bytes);
    return true;
}

/* Containers that have a name and no id. */
static bool take_named(const struct word *word, struct labels *found) {
    static const char *const prefixes[] = {"lxc.payload.", "machine-"};
    static const char *const parents[] = {"lxc", "garden", "lxc.payload"};
    for (size_t i = 0; i < MAL_COUNT_OF(prefixes); i++) {
        size_t prefix = strlen(prefixes[i]);
        if (!begins_with(word, prefixes[i]))
            continue;
        size_t suffix = ends_with(word, ".scope") ? strlen(".scope") : 0;
        if (prefixes[i][0] == 'm' && suffix == 0)
            continue;
        set_label(found->container, word->text + prefix, word->bytes - prefix - suffix);
        return true;
    }
    for (size_t i = 0; i < MAL_COUNT_OF(parents); i++)
        if (strcmp(word->before, parents[i]) == 0) {
            set_label(found->container, word->text, word->bytes);
            return true;
        }
    return false;
}

/* "pod" and a uid, with '-' or '_', anywhere in the word. */
static void take_pod(const struct word *word, struct labels *found) {
    char text[LABEL_BYTES];
    set_label(text, word->text, word->bytes);
    for (const char *at = strstr(text, "pod"); at != NULL; at = strstr(at + 1, "pod")) {
        const char *uid = at + strlen("pod");
        bool starts = at == text || at[-1] == '-';
        size_t bytes = strspn(uid, HEX "-_");
        bool is_uuid = bytes == POD_BYTES;
        bool is_static = bytes == 32; /* of a pod from a file: a hash */
        if (!starts || (!is_uuid && !is_static))
            continue;
        set_label(found->pod, uid, bytes);
        for (char *c = found->pod; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
        return;
    }
}

static void take_word(const struct word *word, struct labels *found) {
    take_pod(word, found);
    if (take_id(word, found) || take_named(word, found))
        return;
    if (ends_with(word, ".service") || ends_with(word, ".scope"))
        set_label(found->unit, word->text, word->bytes);
}

static void merge(char label[LABEL_BYTES], const char *text) {
    if (label[0] == '\0')
        set_label(label, text, strlen(text));
}

void labels_of_cgroup(const char *path, struct labels *labels) {
    struct labels found = {"", "", ""};
    struct word word = {.before = ""};
    for (const char *at = path; *at != '\0'; at += word.bytes) {
        at += strspn(at, "/");
        word.text = at;
        word.bytes = strcspn(at, "/");
        if (word.bytes > 0)
            take_word(&word, &found);
        set_label(word.before, word.text, word.bytes);
    }
    merge(labels->unit, found.unit);
    merge(labels->container, found.container);
    merge(labels->pod, found.pod);
}

void labels_service(const struct labels *labels, const char *exe, char ret_name[LABEL_BYTES]) {
    static const char suffix[] = ".service";
    size_t bytes = strlen(labels->unit);
    const char *slash = strrchr(exe, '/');
    if (bytes > strlen(suffix) && strcmp(labels->unit + bytes - strlen(suffix), suffix) == 0)
        set_label(ret_name, labels->unit, bytes - strlen(suffix));
    else
        set_label(ret_name, slash != NULL ? slash + 1 : exe,
                  strlen(slash != NULL ? slash + 1 : exe));
}
