// Package breaker is the sequential test that decides that an update is bad.
//
// It averages e-processes: numbers that start at 1, that no good update can make grow on average, and that a bad one multiplies with
// every harmed host. Under the null hypothesis, that the update harms nobody, the chance that the average ever reaches 1/alpha is at
// most alpha, however often one looks (Ville's inequality), so it may be looked at after every single outcome. Averages of e-processes
// are e-processes, whatever their dependence; products are not, so nothing that speaks of the same host is multiplied.
//
//   - [OneArm] tests reported crashes against a ceiling: over the whole fleet, and over each stratum alone.
//   - [TwoArm] tests silence, goodbyes and slow hosts against controls of the same class, watched over the same minutes: an outage, a
//     lunch break or a bad baseline hits both arms and cancels out. Silence is also tested for each stratum alone.
//
// The state is a few numbers for each class and stratum, never for each host. The test never proves health: promotion is the business
// of package evidence.
package breaker
