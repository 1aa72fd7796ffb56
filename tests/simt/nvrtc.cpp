/* nvrtc.cpp - NVRTC for the GPU that the CPU plays: a library of the same name and functions, which hands a user's text
** to the C++ compiler of the CPU. Its "cubin" is a shared object that library.cpp opens.
**
** The compiler is that of the build, with its sanitizers. Text is compiled as it stands, with user.h in front; but
** `extern __shared__ T name[];`, which C++ has no word for, becomes a pointer, on the same line. */
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#define PUBLIC extern "C" __attribute__((visibility("default")))

extern char **environ;

enum Result { success, out_of_memory, failed_creation, wrong_input, wrong_program, wrong_option, wrong_text,
              failed, no_names_after_compiling, no_names_before_compiling, wrong_name };

struct Program {
  std::string source, file, log, code;
  std::vector<std::string> headers, header_names, names, lowered;
};

/* ---------------------------------------------------------------- files */

static void write_file(const std::string &path, const std::string &text) { std::ofstream(path) << text; }

static std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return { std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>() };
}

/* A folder that goes, with the files that were named in it. */
class Folder {
 public:
  Folder() {
    const char *temporary = getenv("TMPDIR");
    std::string name = temporary != nullptr && *temporary != '\0' ? temporary : "/tmp";
    name += "/cnas-simt-XXXXXX";
    if (mkdtemp(&name[0]) != nullptr) path = name;
  }
  ~Folder() {
    for (const std::string &file : files) unlink(file.c_str());
    if (!path.empty()) rmdir(path.c_str());
  }
  std::string file(const std::string &name) {
    files.push_back(path + "/" + name);
    return files.back();
  }
  std::string path;

 private:
  std::vector<std::string> files;
};

/* ---------------------------------------------------------------- the compiler */

/* Options of NVRTC that mean nothing here, by their beginnings. */
static const char *const ignored[] = { "--gpu-architecture=", "-arch=", "--use_fast_math", "-use_fast_math", "--fmad=",
                                       "-fmad=", "--maxrregcount=", "-maxrregcount=", "--generate-line-info",
                                       "-lineinfo", "--restrict", "-restrict", "--ptxas-options=", "-Xptxas=",
                                       "--ftz=", "-ftz=", "--prec-div=", "-prec-div=", "--prec-sqrt=", "-prec-sqrt=" };
/* Those of the compiler's that say the same. */
static const struct {
  const char *theirs, *ours;
} translated[] = { { "--define-macro=", "-D" }, { "-D", "-D" }, { "--undefine-macro=", "-U" }, { "-U", "-U" },
                   { "--include-path=", "-I" }, { "-I", "-I" }, { "--std=", "-std=" }, { "-std=", "-std=" },
                   { "--disable-warnings", "-w" }, { "-w", "-w" } };

static bool begins(const std::string &text, const char *with) { return text.compare(0, strlen(with), with) == 0; }

static bool translate(std::vector<std::string> *command, const std::string &option, Folder *folder) {
  if (begins(option, "--pre-include=")) {
    command->insert(command->end(), { "-include", folder->path + "/" + option.substr(strlen("--pre-include=")) });
    return true;
  }
  for (const auto &known : translated) {
    if (!begins(option, known.theirs)) continue;
    command->push_back(known.ours + option.substr(strlen(known.theirs)));
    return true;
  }
  for (const char *known : ignored)
    if (begins(option, known)) return true;
  return false;
}

/* Runs it; what it says goes into *log. */
static bool run(std::vector<std::string> command, const std::string &log_file, std::string *log) {
  std::vector<char *> words;
  for (std::string &word : command) words.push_back(&word[0]);
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 2, 1);
  pid_t child = 0;
  int status = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) {
    *log = command[0] + ": " + strerror(status);
    return false;
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  *log = read_file(log_file);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text) out += c == '"' || c == '\\' ? std::string{ '\\', c } : std::string{ c };
  return out + "\"";
}

/* The text with what library.cpp looks for behind it. Lines of that part are NVRTC's "__nv_name_map". */
static std::string whole_text(const Program &program) {
  static const std::regex dynamic(R"(extern\s+__shared__\s+(?:(?:__align__|alignas)\s*\([^)]*\)\s*)?)"
                                  R"(([\w:]+(?:\s+[\w:]+)*?)\s+(\w+)\s*\[\s*\]\s*;)");
  std::string text = "#line 1 " + quoted(program.file) + "\n" +
                     std::regex_replace(program.source, dynamic, "$1 *$2 = static_cast<$1 *>(simt::dynamic_shared);");
  text += "\n#line 1 \"__nv_name_map\"\nstatic const simtKernel simt_kernels[] = { ";
  for (const std::string &name : program.names) text += "simt::shown<&" + name + ">(), ";
  text += "};\nextern \"C\" {\nextern char __start_simt_shared[] __attribute__((weak, visibility(\"hidden\")));\n"
          "extern char __stop_simt_shared[] __attribute__((weak, visibility(\"hidden\")));\n"
          "extern const simtObject simt_object;\nconst simtObject simt_object = { simt_kernels, " +
          std::to_string(program.names.size()) + ", __start_simt_shared, __stop_simt_shared };\n}\n";
  return text;
}

/* The compiler's names of the kernels, in the order in which they were asked for. */
static bool find_names(Program *program, const std::string &path) {
  struct Kernel { /* simtKernel and simtObject of user.h */
    const void *address, *bind;
  };
  struct Object {
    const Kernel *kernel;
  };
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto object = library != nullptr ? static_cast<const Object *>(dlsym(library, "simt_object")) : nullptr;
  if (object == nullptr) {
    program->log = dlerror();
    return false;
  }
  for (size_t i = 0; i < program->names.size(); i++) {
    Dl_info info;
    bool known = dladdr(object->kernel[i].address, &info) != 0 && info.dli_saddr == object->kernel[i].address;
    program->lowered.push_back(known ? info.dli_sname : "");
  }
  dlclose(library);
  return true;
}

static Result compile(Program *program, const std::vector<std::string> &options) {
  Folder folder;
  std::string text = folder.file("text.cu"), object = folder.file("kernel.so"), log = folder.file("log");
  for (size_t i = 0; i < program->headers.size(); i++)
    write_file(folder.file(program->header_names[i]), program->headers[i]);
  write_file(text, whole_text(*program));
  std::vector<std::string> command = { SIMT_COMPILER, "-std=c++17", "-O1", "-g0", "-fPIC", "-shared", "-Wl,-Bsymbolic",
                                       "-ffp-contract=off", "-fno-diagnostics-color", "-Wno-unknown-pragmas",
                                       "-I" SIMT_FOLDER, "-include", SIMT_FOLDER "/user.h" };
  if (program->source.find("template") != std::string::npos) command.push_back("-DSIMT_PLAIN_SHARED");
  std::string flags = SIMT_FLAGS; /* of sanitizers, separated by spaces */
  for (size_t at = 0, end; at < flags.size(); at = end + 1) {
    end = std::min(flags.find(' ', at), flags.size());
    if (end > at) command.push_back(flags.substr(at, end - at));
  }
  for (const std::string &option : options) {
    if (translate(&command, option, &folder)) continue;
    program->log = "nvrtc: error: unrecognized option " + option + " found\n";
    return wrong_option;
  }
  command.insert(command.end(), { "-x", "c++", text, "-x", "none", SIMT_MODULE, "-o", object });
  if (!run(command, log, &program->log)) return wrong_text;
  program->code = read_file(object);
  return find_names(program, object) ? success : failed;
}

/* ---------------------------------------------------------------- NVRTC's functions */

PUBLIC const char *nvrtcGetErrorString(int result) {
  switch (result) {
    case success: return "NVRTC_SUCCESS";
    case wrong_option: return "NVRTC_ERROR_INVALID_OPTION";
    case wrong_text: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR";
  }
}

PUBLIC int nvrtcGetNumSupportedArchs(int *count) {
  *count = 1;
  return success;
}

PUBLIC int nvrtcGetSupportedArchs(int *list) {
  *list = 90;
  return success;
}

PUBLIC int nvrtcCreateProgram(Program **out, const char *source, const char *file, int headers,
                              const char *const *header, const char *const *header_name) {
  *out = new Program();
  (*out)->source = source;
  (*out)->file = file;
  for (int i = 0; i < headers; i++) {
    (*out)->headers.push_back(header[i]);
    (*out)->header_names.push_back(header_name[i]);
  }
  return success;
}

PUBLIC int nvrtcDestroyProgram(Program **program) {
  delete *program;
  *program = nullptr;
  return success;
}

PUBLIC int nvrtcAddNameExpression(Program *program, const char *name) {
  program->names.push_back(name);
  return success;
}

PUBLIC int nvrtcCompileProgram(Program *program, int options, const char *const *option) {
  return compile(program, { option, option + options });
}

PUBLIC int nvrtcGetProgramLogSize(Program *program, size_t *size) {
  *size = program->log.size() + 1;
  return success;
}

PUBLIC int nvrtcGetProgramLog(Program *program, char *out) {
  memcpy(out, program->log.c_str(), program->log.size() + 1);
  return success;
}

PUBLIC int nvrtcGetLoweredName(Program *program, const char *name, const char **out) {
  for (size_t i = 0; i < program->lowered.size(); i++) {
    if (program->names[i] != name) continue;
    *out = program->lowered[i].c_str();
    return success;
  }
  return wrong_name;
}

PUBLIC int nvrtcGetCUBINSize(Program *program, size_t *size) {
  *size = program->code.size();
  return success;
}

PUBLIC int nvrtcGetCUBIN(Program *program, char *out) {
  memcpy(out, program->code.data(), program->code.size());
  return success;
}

PUBLIC int nvrtcGetPTXSize(Program *, size_t *) { return wrong_program; }

PUBLIC int nvrtcGetPTX(Program *, char *) { return wrong_program; }
