/* SPDX-License-Identifier: Apache-2.0
 *
 * From the path of a control group to what people call the thing in it: the unit of systemd, the
 * container, the pod. Pure functions over text.
 */
#ifndef MAL_DAEMON_LABELS_H
#define MAL_DAEMON_LABELS_H

#define LABEL_BYTES 256

/* "" where the path tells nothing. */
struct labels {
    char unit[LABEL_BYTES];      /* nginx.service, session-2.scope */
    char container[LABEL_BYTES]; /* its id as the engine wrote it, or its name where it has none */
    char pod[LABEL_BYTES];       /* uid of the Kubernetes pod, with dashes */
};

/* Adds what `path` tells to what is known already: the first word counts. */
void labels_of_cgroup(const char *path, struct labels *labels);

/* A name for the service: the unit without its suffix, else the program's base name. */
void labels_service(const struct labels *labels, const char *exe, char ret_name[LABEL_BYTES]);

#endif
