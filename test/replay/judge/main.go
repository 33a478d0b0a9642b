// Command judge plays every recording against our policy and those that users know, and says who has pods there when they are needed
// and what it costs. Figures come last, one a line.
//
//	recordings ─► flights × startup delays ─► ours, peers, HPA with every target ─► verdicts ─► figures
//	                                                                           └► table in test/replay/README.md
//
// Nothing in it is measured: the same code gives the same figures on any machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/foretide/foretide/test/replay"
)

func main() {
	data := flag.String("data", "test/data/forecast", "folder of <data set>/series.csv.gz")
	sets := flag.String("sets", "*", "data sets to play, as a pattern")
	most := flag.Int("series", 0, "play only so many of each data set, the first by name; 0 plays all")
	readme := flag.String("readme", "", "file to write the table into; empty: none")
	flag.Parse()
	if err := run(*data, *sets, *most, *readme); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

func run(data, sets string, most int, readme string) error {
	began := time.Now()
	flights, err := replay.Flights(data, sets)
	if err != nil {
		return err
	}
	flights = firstOf(flights, most)
	all, err := playAll(flights)
	if err != nil {
		return err
	}
	table := tableOf(all)
	if readme != "" {
		if err := write(readme, table+totals(all)); err != nil {
			return err
		}
	}
	fmt.Print(table, totals(all))
	fmt.Fprintf(os.Stderr, "%d recordings, %d delays: %v\n", len(flights), len(delays), time.Since(began).Round(time.Second))
	report(os.Stdout, all)
	return nil
}

// firstOf keeps the first so many of each data set; 0 keeps all.
func firstOf(flights []replay.Flight, most int) (out []replay.Flight) {
	count := map[string]int{}
	for _, f := range flights {
		set, _, _ := strings.Cut(f.Name, "/")
		if count[set]++; most == 0 || count[set] <= most {
			out = append(out, f)
		}
	}
	return out
}

// playAll plays each with each delay, as many at a time as there are processors.
func playAll(flights []replay.Flight) ([]played, error) {
	all, errs := make([]played, len(flights)*len(delays)), make([]error, len(flights)*len(delays))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				all[i], errs[i] = play(flights[i/len(delays)], delays[i%len(delays)])
			}
		})
	}
	for i := range all {
		if i%len(delays) == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d\r", i, len(all))
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return all, errors.Join(errs...)
}
