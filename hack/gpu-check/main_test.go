package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/foretide/foretide/test/fakenvml"
)

// built is a folder with the program and the two libraries it loads.
var built string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	if built, err = os.MkdirTemp("", "gpu-check-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(built)) }()
	for _, step := range [][]string{
		{"go", "build", "-o", filepath.Join(built, "gpu-check"), "."},
		{"gcc", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-shared", "-fPIC", "-o", filepath.Join(built, "libcuda.so.1"), "testdata/libcuda.c"},
	} {
		if out, err := exec.Command(step[0], step[1:]...).CombinedOutput(); err != nil {
			return 1, fmt.Errorf("%q: %w\n%s", step, err, out)
		}
	}
	if _, err := fakenvml.BuildLibrary(filepath.Join(built, "nvml")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// machine is one with scripted libraries.
type machine struct {
	t        *testing.T
	scenario fakenvml.Scenario
	file     string
	env      []string
}

// newMachine has one busy GPU that nobody uses yet.
func newMachine(t *testing.T) *machine {
	t.Helper()
	t.Parallel()
	m := &machine{t: t, scenario: fakenvml.Default(1), file: filepath.Join(t.TempDir(), fakenvml.ScenarioName)}
	gpu := &m.scenario.Devices[0]
	gpu.UtilizationGPUPercent, gpu.PowerMilliwatts, gpu.EnergyFromPower = 80, 300_000, true
	m.env = append(os.Environ(), fakenvml.ScenarioEnv+"="+m.file)
	m.play()
	return m
}

func (m *machine) play() {
	m.t.Helper()
	if err := m.scenario.Write(m.file); err != nil {
		m.t.Fatal(err)
	}
}

// add lets a process use the GPU.
func (m *machine) add(pid, smPercent int, bytes uint64) {
	gpu := &m.scenario.Devices[0]
	gpu.Processes = append(gpu.Processes, fakenvml.Process{PID: pid, SMPercent: smPercent, UsedBytes: bytes})
	gpu.MemoryUsedBytes += bytes
	m.play()
}

// loads answers each of the program's two loads after NVML knows of it: under which PID, and how busy it is in per cent.
func (m *machine) loads(pid func(int) int, smPercent ...int) {
	m.t.Helper()
	socket := filepath.Join(filepath.Dir(m.file), "cuda.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = listener.Close() })
	m.env = append(m.env, "LD_LIBRARY_PATH="+built, "FAKECUDA_SOCKET="+socket)
	go func() {
		for _, percent := range smPercent {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			var its int
			var bytes uint64
			if _, err := fmt.Fscan(bufio.NewReader(c), &its, &bytes); err != nil {
				m.t.Errorf("a load said: %v", err)
			}
			m.add(pid(its), percent, bytes+400<<20) // a context takes memory of its own
			fmt.Fprintln(c, "go")
			_ = c.Close()
		}
	}()
}

// check runs the program, and returns what it printed and its exit code.
func (m *machine) check(args ...string) (text string, code int) {
	m.t.Helper()
	return runProgram(m.t, m.env, append([]string{"--seconds=2", "--nvml.library-path=" + filepath.Join(built, "nvml", fakenvml.LibraryName)}, args...)...)
}

func runProgram(t *testing.T, env []string, args ...string) (text string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(built, "gpu-check"), args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func same(pid int) int { return pid }

// expect checks the exit code, and that each line is there; a run of spaces stands for one of any length, and … for anything.
func expect(t *testing.T, text string, code, wantCode int, lines ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d; want %d", code, wantCode)
	}
	for _, line := range lines {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
		if !regexp.MustCompile(`(?m)^ *` + strings.ReplaceAll(pattern, " ", " +") + ` *$`).MatchString(text) {
			t.Errorf("no line like %q", line)
		}
	}
	if t.Failed() {
		t.Logf("it printed:\n%s", text)
	}
}

func TestProcessesOfAnyKindAreShownWithoutLoad(t *testing.T) {
	m := newMachine(t)
	m.add(1234, 30, 1<<30)
	m.add(1235, 50, 2<<30)
	m.scenario.Devices[0].Errors = map[string]int{"nvmlDeviceGetTemperature": 4}
	m.play()
	text, code := m.check("--load=false")
	expect(t, text, code, 0,
		"device 0 NVIDIA H100 80GB HBM3 (device 0)",
		"driver 570.124.06",
		"foretide_device_utilization_ratio 80.0 % yes nvmlDeviceGetSamples, nvmlDeviceGetUtilizationRates, nvmlGpmMetricsGet (MIG)",
		"foretide_device_memory_used_bytes 3072 MiB yes nvmlDeviceGetMemoryInfo_v2, nvmlDeviceGetMemoryInfo",
		"foretide_device_power_watts 300.0 W yes nvmlDeviceGetPowerUsage",
		"foretide_device_sm_clock_hertz – not supported by this device nvmlDeviceGetClockInfo",
		"foretide_device_temperature_celsius – failed, see the problems nvmlDeviceGetTemperature",
		"calls p50 p99 max function",
		"1 … … … all devices, the first reading, with nvmlInit",
		"5 … … … all devices, one reading",
		"6 … … … nvmlDeviceGetUtilizationRates",
		"process-1234 – – 30.0 % 30.0 % +0.0 pp – 1024 MiB 1024 MiB … J",
		"process-1235 – – 50.0 % 50.0 % +0.0 pp – 2048 MiB 2048 MiB … J",
		"unattributed 0.0 % … J",
		"device 80.0 % 3072 MiB … J",
		"Wrong: none")
}

func TestFunctionThatTheLibraryLacksIsTold(t *testing.T) {
	m := newMachine(t)
	dir := t.TempDir()
	library, err := fakenvml.BuildVariant(dir, fakenvml.OldDriver())
	if err != nil {
		t.Fatal(err)
	}
	text, code := m.check("--load=false", "--nvml.library-path="+library)
	expect(t, text, code, 0,
		"foretide_device_sm_active_ratio – not in this library nvmlGpmMetricsGet",
		"foretide_device_memory_reserved_bytes – not in this library nvmlDeviceGetMemoryInfo_v2",
		"foretide_device_memory_used_bytes 0 MiB yes …")
}

var loadRow = regexp.MustCompile(`(?m)^ *load-[ab] +\S+ % +(\S+) % +\S+ % +(\S+) % +(\S+) pp `)

// judged returns the exit code that goes with the loads' rows. How long a load kept the GPU busy depends on how soon it is woken, so on a
// machine with too much to do it may differ from what attribution rightly says.
func judged(t *testing.T, text string) (code int) {
	t.Helper()
	rows := loadRow.FindAllStringSubmatch(text, -1)
	if len(rows) != 2 {
		t.Errorf("%d rows of loads; want 2", len(rows))
	}
	for _, r := range rows {
		var kept, attributed, difference float64
		if _, err := fmt.Sscan(strings.Join(r[1:], " "), &kept, &attributed, &difference); err != nil {
			t.Fatal(err)
		}
		if d := attributed - kept - difference; d > 0.11 || d < -0.11 { // each is rounded
			t.Errorf("%q: the difference is not that of attributed and kept busy", r[0])
		}
		if difference > 5 || difference < -5 {
			code = 1
		}
	}
	return code
}

func TestKnownLoadIsAttributedAndTheTablesAreKept(t *testing.T) {
	m := newMachine(t)
	m.add(1, 0, 3<<20) // was there before
	m.loads(same, 30, 50)
	out := t.TempDir()
	text, code := m.check("--out=" + out)
	expect(t, text, code, judged(t, text),
		"load-a 30.0 % … % 30.0 % 30.0 % … pp 512 MiB 912 MiB 912 MiB … J",
		"load-b 50.0 % … % 50.0 % 50.0 % … pp 1536 MiB 1936 MiB 1936 MiB … J",
		"The load's processes were identified by their PIDs.",
		"Wrong:…")
	kept, err := os.ReadFile(filepath.Join(out, "nvidia-h100-80gb-hbm3-570.124.06.txt"))
	if err != nil || string(kept) != text {
		t.Errorf("the file has %d bytes, %v; want the %d that were printed", len(kept), err, len(text))
	}
}

func TestLoadIsFoundByItsMemoryWhenTheDriverGivesOtherPIDs(t *testing.T) {
	m := newMachine(t)
	m.add(4_000_001, 0, 3<<20)
	m.loads(func(pid int) int { return 3_000_000 + pid }, 30, 50)
	text, code := m.check()
	expect(t, text, code, judged(t, text),
		"load-a 30.0 % … % 30.0 % 30.0 % … pp 512 MiB 912 MiB 912 MiB … J",
		"load-b 50.0 % … % 50.0 % 50.0 % … pp 1536 MiB 1936 MiB 1936 MiB … J",
		"The load's processes were identified by the memory they hold: …")
}

func TestUtilizationThatIsNotTheLoadsIsWrong(t *testing.T) {
	m := newMachine(t)
	m.loads(same, 80, 0)
	text, code := m.check()
	expect(t, text, code, 1,
		"Wrong:",
		"NVIDIA H100 80GB HBM3 (device 0): the utilization attributed to load-b is off by -… pp: at most 5.0 pp is right")
}

func TestUtilizationThatTheDriverDoesNotDivideIsWrong(t *testing.T) {
	m := newMachine(t)
	m.scenario.Devices[0].Errors = map[string]int{"nvmlDeviceGetProcessUtilization": 3}
	m.loads(same, 30, 50)
	text, code := m.check()
	expect(t, text, code, 1,
		"load-a 30.0 % … % – – – 512 MiB 912 MiB 912 MiB …",
		`NVIDIA H100 80GB HBM3 (device 0): no utilization was attributed to load-a: its attribution is "unknown"`)
}

func TestLoadThatTheDriverDoesNotListIsTold(t *testing.T) {
	m := newMachine(t)
	m.scenario.Devices[0].Errors = map[string]int{"nvmlDeviceGetComputeRunningProcesses_v3": 3, "nvmlDeviceGetProcessUtilization": 3}
	m.loads(same, 30, 50)
	text, code := m.check()
	expect(t, text, code, 1, "the driver does not list the load's processes: …")
}

func TestPartitionedGPUIsReadButTakesNoLoad(t *testing.T) {
	m := newMachine(t)
	gpu := &m.scenario.Devices[0]
	gpu.MIGMode = true
	gpu.MIGInstances = []fakenvml.MIGInstance{{UUID: "MIG-c0ffee00-0000-4000-8000-000000000000", GPUInstance: 9, Profile: "1g.10gb", PlacementSize: 1,
		MemoryTotalBytes: gpu.MemoryTotalBytes / 8, MemoryUsedBytes: 1 << 30, GPM: map[int]float64{1: 40},
		Processes: []fakenvml.Process{{PID: 77, UsedBytes: 1 << 30}}}}
	m.play()
	text, code := m.check("--load=false")
	expect(t, text, code, 0,
		"1. Readings of NVIDIA H100 80GB HBM3 MIG 1g.10gb (instance 9/0 of device 0)",
		"foretide_device_graphics_active_ratio 40.0 % yes nvmlGpmMetricsGet",
		"process-77 – – – 40.0 % – – 1024 MiB 1024 MiB … J",
		"Wrong: none")
	text, code = m.check()
	expect(t, text, code, 2, "gpu-check: every GPU is partitioned (MIG), …")
}

func TestMissingLibrariesAreTold(t *testing.T) {
	t.Run("CUDA", func(t *testing.T) {
		if _, err := openLibrary("libcuda.so.1"); err == nil {
			t.Skip("this machine has one")
		}
		text, code := newMachine(t).check()
		expect(t, text, code, 2, "gpu-check: load-a: exit status 2: there is no CUDA driver: libcuda.so.1: … install the NVIDIA driver, …")
	})
	t.Run("NVML", func(t *testing.T) {
		t.Parallel()
		text, code := runProgram(t, nil, "--nvml.library-path=/nowhere/libnvidia-ml.so.1")
		expect(t, text, code, 2, "gpu-check: no GPU can be read (NVML: library_missing): nvml: NVML library not found, …")
	})
}

func TestCUDAErrorIsGivenItsName(t *testing.T) {
	m := newMachine(t)
	m.env = append(m.env, "LD_LIBRARY_PATH="+built) // and no socket: the scripted driver has no memory
	text, code := m.check()
	expect(t, text, code, 2, "gpu-check: load-a: exit status 2: CUDA: cuMemAlloc: CUDA_ERROR_SYSTEM_NOT_READY")
}

func TestWrongFlagIsRefusedByNameAndValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"--seconds=0", "gpu-check: --seconds=0: …"},
		{"load --share=1.5", "--share=1.5 --turn=0: …"},
		{"load --turn=NaN", "--share=0.3 --turn=NaN: …"},
		{"load --seconds=0", "--seconds=0: …"},
	} {
		text, code := runProgram(t, nil, strings.Fields(c.args)...)
		expect(t, text, code, 2, c.want)
	}
}
