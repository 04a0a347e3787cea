/* A system that fails its callers: preloaded into alfred by tests/e2e/failures/fault.rs.
 *
 * The file $FAULT_FILE says what goes wrong at the moment; where it is absent, nothing does:
 *   full          no room left below $FAULT_FOLDER
 *   read-only     nothing below $FAULT_FOLDER may be written
 *   slow MS       each sync below $FAULT_FOLDER takes so long, or until that is over
 *   names         no name is resolved, and that is known after 5 s, as of a name server that is away
 *   threads       no thread is started
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NAMES_MS 5000

/* The fault of the moment, or "". */
static const char *now(char word[64]) {
    int before = errno, file;
    ssize_t length = 0;
    const char *path = getenv("FAULT_FILE");
    if (path && (file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC)) >= 0) {
        length = read(file, word, 63);
        syscall(SYS_close, file);
    }
    word[length > 0 ? length : 0] = 0;
    errno = before;
    return word;
}

static int is(const char *fault) {
    char word[64];
    return strncmp(now(word), fault, strlen(fault)) == 0;
}

static int is_below(const char *path) {
    const char *folder = getenv("FAULT_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_of_folder(int file) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    path[length > 0 ? length : 0] = 0;
    return is_below(path);
}

static void sleep_while(const char *fault, long ms) {
    struct timespec step = {0, 20 * 1000 * 1000};
    for (; ms > 0 && is(fault); ms -= 20) nanosleep(&step, NULL);
}

/* Why a write to this file fails now; 0: it does not. */
static int refusal(int file) {
    char word[64];
    int error = 0;
    now(word);
    if (!strncmp(word, "full", 4)) error = ENOSPC;
    if (!strncmp(word, "read-only", 9)) error = EROFS;
    return error && is_of_folder(file) ? error : 0;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define REFUSE(file)                 \
    int error = refusal(file);       \
    if (error) {                     \
        errno = error;               \
        return -1;                   \
    }

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    REFUSE(file);
    return real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    REAL(pwrite);
    REFUSE(file);
    return real(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    REAL(pwrite64);
    REFUSE(file);
    return real(file, bytes, count, offset);
}

int ftruncate(int file, off_t length) {
    REAL(ftruncate);
    REFUSE(file);
    return real(file, length);
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    REFUSE(file);
    return real(file, length);
}

static void sync_slowly(int file) {
    char word[64];
    if (!strncmp(now(word), "slow ", 5) && is_of_folder(file)) sleep_while("slow ", atol(word + 5));
}

int fsync(int file) {
    REAL(fsync);
    REFUSE(file);
    sync_slowly(file);
    return real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    REFUSE(file);
    sync_slowly(file);
    return real(file);
}

/* A file system that may only be read opens no file for writing. */
static int is_refused(const char *path, int flags) {
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT)) return 0;
    if (!is_below(path) || !is("read-only")) return 0;
    errno = EROFS;
    return 1;
}

#define OPEN(name)                                             \
    int name(const char *path, int flags, ...) {               \
        REAL(name);                                            \
        va_list more;                                          \
        va_start(more, flags);                                 \
        mode_t mode = va_arg(more, mode_t);                    \
        va_end(more);                                          \
        return is_refused(path, flags) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    REAL(getaddrinfo);
    if (!is("names")) return real(name, service, hints, found);
    sleep_while("names", NAMES_MS);
    return is("names") ? EAI_AGAIN : real(name, service, hints, found);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument) {
    REAL(pthread_create);
    return is("threads") ? EAGAIN : real(thread, attributes, start, argument);
}
