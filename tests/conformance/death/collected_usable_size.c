/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of the collected heap, whose size malloc is asked for.
 */
#include "death.h"

#include <dlfcn.h>

int main(void) {
    void *(*make_collected)(size_t) =
        (void *(*)(size_t))dlsym(RTLD_DEFAULT, "mallard_gc_alloc_noscan");
    char *object = make_collected ? make_collected(100) : NULL;
    if (!object)
        return 3;
    announce(object);
    announce((void *)malloc_usable_size(hide(object)));
    return 0;
}
